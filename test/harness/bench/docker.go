/* Raw calls of the Docker API, and the one image, made without a registry. */
package main

import (
	"context"
	"net/http"

	"paddock.invalid/test/harness/engine"
)

const image = "paddock.test/busybox:1"

type docker struct{ *engine.API }

/* With connections that are kept open, like a driver's. */
func newDocker(socket string) docker { return docker{engine.New(socket, 64)} }

/* A call whose answer is read by the caller. */
func (d docker) open(method, path string) (*http.Response, error) {
	return d.Open(context.Background(), method, path, nil)
}

func (d docker) call(method, path string, body, out any) error {
	_, err := d.Call(method, path, body, out)
	return err
}

func (d docker) importBusybox() error {
	root, err := engine.BusyboxRoot(nil)
	if err != nil {
		return err
	}
	return d.Import(image, root, "ENV PATH=/bin")
}
