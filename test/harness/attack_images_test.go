/*
 * Images that a job author makes for the attack: links and declared volumes in the
 * places where Nomad's folders are mounted. Docker follows such links while it
 * mounts.
 */
package harness

import (
	"fmt"
	"sync"
	"testing"
)

type attackImage struct {
	links   map[string]string /* path to target */
	changes []string          /* lines of a Dockerfile */
	once    sync.Once
}

/* By reference. An image is made for the first attack that uses it. */
var attackImages = map[string]*attackImage{
	"attack/alloc-leads-away:1":      {links: map[string]string{"alloc": "/p1"}},
	"attack/alloc-leads-to-local:1":  {links: map[string]string{"alloc": "/local/l"}},
	"attack/alloc-leads-to-proc:1":   {links: map[string]string{"alloc": "/proc/self/root/p1"}},
	"attack/secrets-lead-to-alloc:1": {links: map[string]string{"secrets": "/alloc"}},
	"attack/local-leads-to-logs:1":   {links: map[string]string{"local": "/alloc/logs"}},
	"attack/parent-leads-away:1":     {links: map[string]string{"q": "/p1", "p": "/local"}},
	"attack/local-leads-away:1":      {links: map[string]string{"local": "/usr", "var/run": "/run"}},
	"attack/volumes:1":               {changes: []string{`VOLUME ["/alloc", "/local", "/secrets", "/alloc/logs"]`}},
	"attack/volumes-below:1":         {changes: []string{`VOLUME ["/alloc/data", "/local/d", "/secrets/d"]`}},
	"attack/volume-and-leads-away:1": {links: map[string]string{"alloc": "/p1"}, changes: []string{`VOLUME ["/alloc", "/p1"]`}},
	"attack/volume-where-it-leads:1": {links: map[string]string{"alloc": "/p1"}, changes: []string{`VOLUME ["/p1/logs"]`}},
}

/* Makes the image when it is one of these. */
func needAttackImage(t testing.TB, ref string) {
	t.Helper()
	if i := attackImages[ref]; i != nil {
		i.once.Do(func() {
			importWithLinks(t, ref, i.links, map[string]string{"bin/look": attackLook}, append(i.changes, `ENV PATH=/bin`)...)
		})
	}
}

func imageAttacks() (rows []attack) {
	refused := []string{"alloc-leads-away", "alloc-leads-to-local", "alloc-leads-to-proc", "secrets-lead-to-alloc", "volume-and-leads-away", "volume-where-it-leads"}
	for _, name := range refused {
		rows = append(rows, attack{name: "image " + name, image: "attack/" + name + ":1", fails: true})
	}
	for _, name := range []string{"local-leads-away", "volumes", "volumes-below"} {
		rows = append(rows, attack{name: "image " + name, image: "attack/" + name + ":1", starts: true})
	}
	rows = append(rows, attack{name: "image local-leads-to-logs", image: "attack/local-leads-to-logs:1"})
	for _, env := range []map[string]string{
		{"NOMAD_ALLOC_DIR": "/q/alloc"}, {"NOMAD_ALLOC_DIR": "/p/alloc"}, {"NOMAD_ALLOC_DIR": "/q", "NOMAD_TASK_DIR": "/q/logs"}, {"NOMAD_SECRETS_DIR": "/q/x", "NOMAD_TASK_DIR": "/p1"},
	} {
		rows = append(rows, attack{name: fmt.Sprintf("image parent-leads-away with %v", env), image: "attack/parent-leads-away:1", env: env})
	}
	for _, image := range []string{"alloc-leads-away", "secrets-lead-to-alloc", "volumes", "local-leads-to-logs"} {
		for _, t := range []thing{link("alloc/logs", "{C}/alloc/logs"), link("alloc", "{C}/alloc"), link("web/local", "{C}/web/local")} {
			row := attack{name: fmt.Sprintf("image %s, and %s leads out now and then", image, t.Path), image: "attack/" + image + ":1", race: []thing{t}}
			rows = append(rows, row)
			row.name, row.joint = row.name+" from the attacker's start on", true
			rows = append(rows, row)
		}
	}
	byName(rows)
	return rows
}
