/* The Docker Engine API directly over the socket. Tests read from Docker what a driver sent to
 * Docker. */
package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

type API struct {
	HTTP *http.Client
}

/* Docker's answer when it refuses a request. */
type Error struct {
	Status int
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("docker answers %d: %s", e.Status, e.Text) }

/*
 * idle: how many connections are kept for later calls. 0: each call has its own, for a daemon that
 * is killed and restarted.
 */
func New(socket string, idle int) *API {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	return &API{&http.Client{Transport: &http.Transport{
		DialContext: dial, DisableKeepAlives: idle == 0, MaxIdleConnsPerHost: idle}}}
}

/*
 * A call whose answer the caller reads and closes. A refusal is an *Error. body: nil, an io.Reader
 * (sent as a tar) or a value (sent as JSON).
 */
func (a *API) Open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var reader io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case io.Reader:
		reader, kind = b, "application/x-tar"
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://docker/v1.41"+path, reader)
	if err != nil {
		return nil, err
	}
	if reader != nil {
		req.Header.Set("Content-Type", kind)
	}
	resp, err := a.HTTP.Do(req)
	if err != nil || resp.StatusCode < 400 {
		return resp, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return nil, &Error{resp.StatusCode, strings.TrimSpace(string(data))}
}

/* One call. out: nil, or where the JSON is stored. Returns the status, or 0 without an answer. */
func (a *API) Do(ctx context.Context, method, path string, body, out any) (int, error) {
	resp, err := a.Open(ctx, method, path, body)
	if refused := new(Error); errors.As(err, &refused) {
		return refused.Status, err
	}
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err
	}
	if out != nil {
		return resp.StatusCode, json.Unmarshal(data, out)
	}
	/* image calls report errors inside a 200 stream */
	if bytes.Contains(data, []byte(`"errorDetail"`)) {
		return resp.StatusCode, &Error{resp.StatusCode, string(data)}
	}
	return resp.StatusCode, nil
}

func (a *API) Call(method, path string, body, out any) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return a.Do(ctx, method, path, body, out)
}

type Container struct {
	ID     string `json:"Id"`
	Names  []string
	State  string
	Labels map[string]string
}

func (a *API) List() ([]Container, error) {
	var out []Container
	_, err := a.Call("GET", "/containers/json?all=1", nil, &out)
	return out, err
}

/* A container that does not exist counts as removed. */
func (a *API) Remove(id string) error {
	status, err := a.Call("DELETE", "/containers/"+id+"?force=1&v=1", nil, nil)
	if status == http.StatusNotFound {
		return nil
	}
	return err
}

func (a *API) RemoveAll() error {
	list, err := a.List()
	for _, c := range list {
		if e := a.Remove(c.ID); e != nil {
			err = errors.Join(err, fmt.Errorf("removing container %.12s: %w", c.ID, e))
		}
	}
	return err
}

func (a *API) HasImage(ref string) bool {
	_, err := a.Call("GET", "/images/"+url.PathEscape(ref)+"/json", nil, &struct{}{})
	return err == nil
}

/* Makes an image of a root file system tar. changes: Dockerfile instructions (CMD, ENV, USER...). */
func (a *API) Import(ref string, root []byte, changes ...string) error {
	repo, tag, _ := strings.Cut(ref, ":")
	q := url.Values{"fromSrc": {"-"}, "repo": {repo}, "tag": {tag}, "changes": changes}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := a.Do(ctx, "POST", "/images/create?"+q.Encode(), bytes.NewReader(root), nil)
	return err
}
