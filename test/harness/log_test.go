/* Checks each line of a plugin's stderr like the host, where a wrong type ends the agent. */
package harness

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func checkLogLines(t *testing.T, text string) {
	t.Helper()
	levels := map[string]bool{"trace": true, "debug": true, "info": true, "warn": true, "error": true}
	for _, line := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		if len(line) >= 64<<10 {
			t.Errorf("a log line of %d bytes: the host cuts at 64 KiB", len(line))
			continue
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Errorf("log line is no JSON object: %q", line)
			continue
		}
		level, _ := m["@level"].(string)
		stamp, _ := m["@timestamp"].(string)
		if _, isString := m["@message"].(string); !isString {
			t.Errorf("@message is no string: %s", line)
		}
		if !levels[strings.ToLower(level)] {
			t.Errorf("@level %q: %s", level, line)
		}
		if _, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", stamp); err != nil {
			t.Errorf("@timestamp: %v: %s", err, line)
		}
	}
}
