/* Figures, and their two forms: a table for people, JSON lines for machines. */
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

/* A figure of each peer by its name. limit: what paddock must not pass, from the peers' values; nil: no target. */
type figure struct {
	name, unit string
	values     map[string]float64
	least      bool /* the target is a minimum, not a maximum */
	target     *float64
	judged     *float64 /* what the target is for, when it is not paddock's value itself */
	how        string   /* the target's text then, with a verb for it */
	give       string   /* how much it may be off by chance */
}

type figures struct{ list []*figure }

func (fs *figures) get(name, unit string) *figure {
	for _, f := range fs.list {
		if f.name == name {
			return f
		}
	}
	f := &figure{name: name, unit: unit, values: map[string]float64{}}
	fs.list = append(fs.list, f)
	return f
}

func (fs *figures) set(name, unit, peer string, value float64) *figure {
	f := fs.get(name, unit)
	f.values[peer] = value
	return f
}

func (f *figure) atMost(v float64) { f.target = &v }

/*
 * At most so much over the raw calls: the median of the differences within each round. These do not
 * contain what affects a whole round, as the difference of two medians does.
 */
func (f *figure) overRawAtMost(s samples, v float64) {
	if ms, have := s.overRaw().median("paddock"); have {
		f.atMost(v)
		f.judged, f.how, f.give = &ms, "raw + %s", " ± "+number(s.overRaw().error("paddock"))
	}
}

/* At most so many times the raw calls' value: the median of the ratios within each round. */
func (f *figure) ofRawAtMost(ratios []float64, v float64) {
	if len(ratios) > 0 {
		ratio := middle(ratios)
		f.atMost(v)
		f.judged, f.how = &ratio, "%s of raw"
	}
}

func (f *figure) atLeast(v float64) { f.target, f.least = &v, true }

func (f *figure) cell(peer string) string {
	v, have := f.values[peer]
	if !have {
		return "-"
	}
	return number(v)
}

func number(v float64) string {
	switch {
	case v == float64(int64(v)) && v < 1e6:
		return fmt.Sprintf("%d", int64(v))
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.1f", v)
	}
}

func (f *figure) verdict() (target, ok string) {
	if f.target == nil {
		return "", ""
	}
	sign := "<="
	if f.least {
		sign = ">="
	}
	target = sign + " " + number(*f.target)
	v, have := f.values["paddock"]
	if f.judged != nil {
		target = sign + " " + fmt.Sprintf(f.how, number(*f.target))
		v, have = *f.judged, true
		defer func() { ok = number(v) + f.give + " " + ok }()
	}
	switch {
	case !have:
	case f.least == (v >= *f.target) || v == *f.target:
		ok = "ok"
	default:
		ok = "MISSED"
	}
	return target, ok
}

func (fs *figures) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "figure\tunit\tpaddock\treference\traw Docker\ttarget\tok?\t")
	for _, f := range fs.list {
		target, ok := f.verdict()
		fmt.Fprintln(w, strings.Join([]string{f.name, f.unit, f.cell("paddock"), f.cell("reference"), f.cell("raw"), target, ok}, "\t")+"\t")
	}
	w.Flush()
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Fprintf(out, "load of the machine at the end: %s", load)
}

/* One object per line for each figure and peer. Values that were not measured are null. */
func (fs *figures) writeJSON(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(file)
	for _, f := range fs.list {
		peers := []string{"reference", "raw"}
		if len(f.values) == 1 {
			peers = peers[:1]
		}
		for _, name := range peers {
			line := struct {
				Name     string   `json:"name"`
				Unit     string   `json:"unit"`
				Paddock  *float64 `json:"paddock"`
				Peer     *float64 `json:"peer"`
				PeerName string   `json:"peer_name"`
				Ratio    *float64 `json:"ratio"`
			}{Name: f.name, Unit: f.unit, PeerName: name}
			if v, have := f.values["paddock"]; have {
				line.Paddock = &v
			}
			if v, have := f.values[name]; have {
				line.Peer = &v
			} else if name == "raw" {
				continue
			}
			if line.Paddock != nil && line.Peer != nil && *line.Peer != 0 {
				r := *line.Paddock / *line.Peer
				line.Ratio = &r
			}
			if err == nil {
				err = enc.Encode(line)
			}
		}
	}
	if e := file.Close(); err == nil {
		err = e
	}
	return err
}

/* Samples of a duration, by peer. The n-th samples of all peers are of the same round. */
type samples map[string][]time.Duration

func (s samples) add(peer string, d time.Duration) { s[peer] = append(s[peer], d) }

/* How much each sample is over that of the raw calls. */
func (s samples) overRaw() samples {
	out := samples{}
	for peer, list := range s {
		for i := 0; i < min(len(list), len(s["raw"])); i++ {
			out.add(peer, list[i]-s["raw"][i])
		}
	}
	return out
}

func (s samples) median(peer string) (ms float64, have bool) {
	if len(s[peer]) == 0 {
		return 0, false
	}
	var list []float64
	for _, d := range s[peer] {
		list = append(list, float64(d.Nanoseconds())/1e6)
	}
	return middle(list), true
}

/* The median's standard error: that of a mean, and a quarter more (a normal distribution's). In ms. */
func (s samples) error(peer string) float64 {
	n := float64(len(s[peer]))
	var sum, squares float64
	for _, d := range s[peer] {
		ms := float64(d.Nanoseconds()) / 1e6
		sum += ms
		squares += ms * ms
	}
	return 1.25 * math.Sqrt(max(0, squares/n-sum/n*sum/n)/n)
}

func middle(list []float64) float64 {
	list = slices.Clone(list)
	slices.Sort(list)
	return (list[(len(list)-1)/2] + list[len(list)/2]) / 2
}

/* Sets the p50 of each peer that has samples. */
func (fs *figures) medians(name string, s samples, peers []peer) *figure {
	f := fs.get(name, "ms")
	for _, p := range peers {
		if ms, have := s.median(p.label()); have {
			f.values[p.label()] = ms
		}
	}
	return f
}
