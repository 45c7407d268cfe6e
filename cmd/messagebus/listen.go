package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// The addresses that are not HOST:PORT.
const (
	unixPrefix = "unix:"
	systemd    = "systemd" // a socket that systemd has opened; systemd:NAME: of that FileDescriptorName
)

// listen listens on an address.
func listen(ctx context.Context, address string, env lookup) (net.Listener, error) {
	var listener net.Listener
	var err error
	path, isUnix := strings.CutPrefix(address, unixPrefix)
	switch {
	case isUnix:
		listener, err = listenUnix(ctx, path)
	case strings.HasPrefix(address, systemd):
		listener, err = inherited(strings.TrimPrefix(strings.TrimPrefix(address, systemd), ":"), env)
	default:
		var config net.ListenConfig
		listener, err = config.Listen(ctx, "tcp", address)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	return listener, nil
}

// listenUnix listens on a Unix socket, which only its user and group may
// connect to. A socket that nobody answers on was left behind, and is replaced.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(ctx, path) {
		if err = os.Remove(path); err == nil {
			listener, err = config.Listen(ctx, "unix", path)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // a proxy in the group has to write to it
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// abandoned reports whether a path is a socket that nobody listens on.
func abandoned(ctx context.Context, path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != fs.ModeSocket {
		return false
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close() // nothing was sent
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// firstInherited is the first descriptor that systemd hands over
// (sd_listen_fds(3)).
const firstInherited = 3

// inherited returns the socket of a name that systemd has opened, the first one
// for an empty name.
func inherited(name string, env lookup) (net.Listener, error) {
	value := func(variable string) string { v, _ := env(variable); return v }
	count, err := strconv.Atoi(value("LISTEN_FDS"))
	if err != nil || count < 1 || value("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, errors.New("systemd has handed over no socket; is there a .socket unit?")
	}
	index := 0
	if name != "" {
		names := strings.Split(value("LISTEN_FDNAMES"), ":")
		if index = slices.Index(names, name); index < 0 || index >= count {
			return nil, fmt.Errorf("systemd has handed over no socket with FileDescriptorName=%s; there are: %s", name, strings.Join(names, ", "))
		}
	}
	file := os.NewFile(uintptr(firstInherited+index), systemd+":"+name)
	defer file.Close() // the listener has a copy
	return net.FileListener(file)
}

// notify tells systemd how far this process has come (sd_notify(3)), if it
// asked to be told.
func notify(env lookup, state string) error {
	path, _ := env("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	if path[0] == '@' {
		path = "\x00" + path[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte(state))
	return errors.Join(err, conn.Close())
}
