package main

import (
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

/* A set of CPUs, the first 64. */
type set uint64

/* Reads the kernel's list format. Text that cannot be read is an error, not an empty set. */
func parseSet(text string) (set, error) {
	var s set
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, nil
	}
	for _, part := range strings.Split(text, ",") {
		low, high, isRange := strings.Cut(part, "-")
		a, err := strconv.Atoi(low)
		b := a
		if err == nil && isRange {
			b, err = strconv.Atoi(high)
		}
		if err != nil || a < 0 || b > 63 || a > b {
			return 0, fmt.Errorf("not a CPU list: %q", text)
		}
		for i := a; i <= b; i++ {
			s |= 1 << i
		}
	}
	return s, nil
}

func mustSet(text string) set {
	s, err := parseSet(text)
	if err != nil {
		panic(failure(err.Error()))
	}
	return s
}

func (s set) String() string {
	var parts []string
	for i := 0; i < 64; i++ {
		if s&(1<<i) == 0 {
			continue
		}
		j := i
		for j < 63 && s&(1<<(j+1)) != 0 {
			j++
		}
		if i == j {
			parts = append(parts, strconv.Itoa(i))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", i, j))
		}
		i = j
	}
	return strings.Join(parts, ",")
}

func (s set) count() int { return bits.OnesCount64(uint64(s)) }

func readSet(path string) (set, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return parseSet(string(data))
}

/* Writes like a shell's echo: one write, without truncation. */
func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text + "\n")
	return err
}

/* Runs a program; its output is part of the error. */
func sh(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %v: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}

func (t *T) sh(name string, args ...string) string {
	out, err := sh(name, args...)
	t.ok(err, "command")
	return out
}
