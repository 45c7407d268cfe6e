package main

import (
	"context"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/dashboard"
	"github.com/messagebus-go/messagebus/transport"
)

// showDashboard gives the admin listener its dashboard, which takes its samples
// until stop is called.
func (s *serveCommand) showDashboard(a *admin, b *bus.Bus, messages *transport.Handler, m *metrics, store string) (stop func()) {
	a.dashboard = dashboard.New(&dashboard.Options{
		Bus: b, Handler: messages, Recorder: m.recorder, Metrics: m.own,
		Store: shownURL(store), Version: builtFrom(), MaxHeld: s.mostHeld(), Gate: a, Logger: s.bus.Logger,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var sampling sync.WaitGroup
	sampling.Go(func() { a.dashboard.Run(ctx) })
	return func() {
		cancel()
		sampling.Wait()
	}
}

func (s *serveCommand) mostHeld() int {
	if s.longPoll.Disabled {
		return 0
	}
	return s.limits.MaxHeld
}

func builtFrom() dashboard.Version {
	info, found := debug.ReadBuildInfo()
	if !found {
		info = &debug.BuildInfo{}
	}
	v := dashboard.Version{MessageBus: versionOf(info), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			v.Commit = setting.Value
		}
	}
	return v
}

func (a *admin) overview(w http.ResponseWriter, r *http.Request) error {
	answer(w, http.StatusOK, a.dashboard.Overview(r.Context()))
	return nil
}

// defaultLook is how many messages are shown of a channel.
const defaultLook = 25

func (a *admin) look(w http.ResponseWriter, r *http.Request) error {
	p, err := parameters(r, "channel", "site", "last")
	if err != nil {
		return err
	}
	if len(p["channel"]) != 1 {
		return refuse(http.StatusBadRequest, "the parameter channel must be there once")
	}
	last := defaultLook
	if p.has("last") {
		if last, err = parameter(p, "last", count(1)); err != nil {
			return err
		}
	}
	found, err := a.dashboard.Look(r.Context(), p.one("channel"), p.site(), last)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, found)
	return nil
}
