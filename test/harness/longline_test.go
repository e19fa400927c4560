package harness

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

/* Numbered words without a newline, for some seconds. Docker gives each piece of a line the time
 * of the first one, so that a line to stderr now and then is newer than all of them. */
const endless = `i=0; while [ $i -lt 30000 ]; do printf '%08d' $i; i=$((i+1)); ` +
	`if [ $((i % 500)) = 0 ]; then usleep 100000; echo "at $i" >&2; fi; done; echo; echo last >&2; sleep 3600`

/* Its log is read through the API. The pump is killed in the middle of the line, more than once. */
func TestEndlessLineThroughTheAPIIsWhole(t *testing.T) {
	paddockOnly(t, "has a log process for each task, which loses a part of such a line")
	p := launch(t)
	k := newTask(t, p, "endless", shell(endless)+"\nlogging { type = \"local\" }").start(p)
	for round := 1; round <= 4; round++ {
		k.stderr.waitFor(t, 60*time.Second, fmt.Sprintf("at %d\n", round*5000))
		for _, pump := range logPumps() { /* a pump of another client may not have ended yet */
			ok(t, syscall.Kill(pump.pid, syscall.SIGKILL), "kill -9 of the pump")
		}
	}
	k.stderr.waitFor(t, 60*time.Second, "last\n")
	ok(t, k.stop(p, 20*time.Second, ""), "StopTask")
	ok(t, k.destroy(p), "DestroyTask")
	/* Docker's driver "local" leaves out the newline after a line of several pieces. */
	text := strings.TrimSuffix(k.stdout.text(), "\n")
	var want strings.Builder
	for i := 0; i < 30000; i++ {
		fmt.Fprintf(&want, "%08d", i)
	}
	if text != want.String() {
		at := 0
		for at < len(text) && at < want.Len() && text[at] == want.String()[at] {
			at++
		}
		t.Fatalf("%d bytes, want %d; they differ from byte %d on", len(text), want.Len(), at)
	}
}
