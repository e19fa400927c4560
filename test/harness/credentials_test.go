/*
 * The plugin's own sources of credentials for a registry: docker's configuration file and helper
 * programs. The tests write both.
 */
package harness

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

/* A docker config file: plain credentials, then a helper program named for the registry. */
func TestPullWithConfigFile(t *testing.T) {
	r := needRegistry(t)
	file := filepath.Join(t.TempDir(), "config.json")
	basic := base64.StdEncoding.EncodeToString([]byte(regUser + ":" + regPass))
	ok(t, os.WriteFile(file, []byte(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host, basic)), 0o600), "config file")
	p := launchWith(t, launchOptions{config: baseConfig(fmt.Sprintf("auth { config = %q }", file))})
	k := newTask(t, p, "file", r.anonymous("file:1", "")).start(p)
	ok(t, k.destroy(p), "DestroyTask")
	ok(t, r.forget(r.host+"/file:1"), "forgetting the image")

	dir := helperProgram(t, "harness-a", regUser, regPass)
	ok(t, os.WriteFile(file, []byte(fmt.Sprintf(`{"credHelpers":{%q:"harness-a"}}`, r.host)), 0o600), "config file")
	p = launchWith(t, launchOptions{config: baseConfig(fmt.Sprintf("auth { config = %q }", file)), env: []string{"PATH=" + dir + ":" + os.Getenv("PATH")}})
	k = newTask(t, p, "helpers", r.anonymous("file:1", "")).start(p)
	ok(t, k.destroy(p), "DestroyTask")
	if asked := readFile(t, dir+"/asked"); asked != r.host {
		t.Errorf("the helper was asked for %q, want %q", asked, r.host)
	}
}

/* An email alone is not a credential for a registry. The plugin's sources are asked. */
func TestEmailAloneIsNoCredential(t *testing.T) {
	paddockOnly(t, "takes it for credentials and asks no other source; ignored since then")
	r := needRegistry(t)
	file := filepath.Join(t.TempDir(), "config.json")
	basic := base64.StdEncoding.EncodeToString([]byte(regUser + ":" + regPass))
	ok(t, os.WriteFile(file, []byte(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host, basic)), 0o600), "config file")
	p := launchWith(t, launchOptions{config: baseConfig(fmt.Sprintf("auth { config = %q }", file))})
	k := newTask(t, p, "email", r.anonymous("plain:1", "force_pull = true\nauth { email = \"who@example.com\" }")).start(p)
	ok(t, k.destroy(p), "DestroyTask")
}

func TestPullWithHelper(t *testing.T) {
	r := needRegistry(t)
	dir := helperProgram(t, "harness-b", regUser, regPass)
	env := []string{"PATH=" + dir + ":" + os.Getenv("PATH")}
	p := launchWith(t, launchOptions{config: baseConfig(`auth { helper = "harness-b" }`), env: env})
	k := newTask(t, p, "helper", r.anonymous("helper:1", "")).start(p)
	ok(t, k.destroy(p), "DestroyTask")

	/* a helper that does not exist: an error that names it, unless the task has auth_soft_fail */
	p = launchWith(t, launchOptions{config: baseConfig(`auth { helper = "harness-none" }`), env: env})
	k = newTask(t, p, "nohelper", r.anonymous("plain:2", ""))
	wantError(t, k.tryStart(p), "a helper that does not exist", "harness-none")
	soft := newTask(t, p, "soft", r.anonymous("plain:2", "auth_soft_fail = true"))
	wantError(t, soft.tryStart(p), "auth_soft_fail continues with the pull", "Failed to pull")
}

func TestIdentityTokenReachesDocker(t *testing.T) {
	paddockOnly(t, "reads the token and does not send it")
	r := needRegistry(t)
	rec := record(t, run.dockerd.Socket())
	dir := helperProgram(t, "harness-t", "<token>", "an.identity.token")
	p := launchWith(t, launchOptions{config: configAt(rec.endpoint, `auth { helper = "harness-t" }`), env: []string{"PATH=" + dir + ":" + os.Getenv("PATH")}})
	k := newTask(t, p, "token", r.anonymous("token:1", ""))
	_ = k.tryStart(p) /* the registry accepts no tokens: only what Docker was sent counts */
	if auth := rec.lastAuth(t); auth.str("identitytoken") != "an.identity.token" {
		t.Errorf("credentials %v, want identitytoken", auth)
	}
}

/* A docker-credential-NAME program that answers with this user and secret. Returns its directory. */
func helperProgram(t *testing.T, name, user, secret string) string {
	t.Helper()
	dir := t.TempDir()
	answer, _ := json.Marshal(map[string]string{"Username": user, "Secret": secret, "ServerURL": "x"})
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = get ] || exit 9\ncat >%s/asked\nprintf '%%s' '%s'\n", dir, answer)
	ok(t, os.WriteFile(filepath.Join(dir, "docker-credential-"+name), []byte(script), 0o755), "helper program")
	return dir
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	ok(t, err, "reading")
	return strings.TrimSpace(string(data))
}
