package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/identity"
)

// reloader takes over changed settings on SIGHUP. Those with a mistake change
// nothing.
type reloader struct {
	flags       *pflag.FlagSet // as the server was started
	env         lookup
	log         *slog.Logger
	level       *slog.LevelVar
	gate        *identity.Gate
	admin       *admin
	certificate *certificate // nil: no TLS
}

// start reloads on every SIGHUP until stop is called.
func (r *reloader) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			select {
			case <-hangups:
				r.reload(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return func() {
		signal.Stop(hangups)
		cancel()
		running.Wait()
	}
}

func (r *reloader) reload(ctx context.Context) {
	s, flags, err := r.read()
	var o *opened
	if err == nil {
		o, err = s.open(ctx, flags, r.log)
	}
	if err != nil {
		for _, one := range single(err) {
			r.log.Error("nothing is reloaded", "error", one)
		}
		return
	}
	r.gate.Set(o.source, s.rules())
	r.admin.setKey(o.adminKey)
	r.level.Set(s.level)
	if r.certificate != nil {
		r.certificate.reload()
	}
	if late := r.needRestart(flags); len(late) > 0 {
		r.log.Warn("some changed settings need a restart", "settings", strings.Join(late, ", "))
	}
	r.log.Info("the settings are reloaded")
}

// read reads the settings again, from the same command line.
func (r *reloader) read() (*serveCommand, *pflag.FlagSet, error) {
	s := defaultServe()
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	s.addFlags(flags)
	var wrong mistakes
	r.flags.Visit(func(f *pflag.Flag) {
		if !typed(r.flags, f.Name) || f.Name == "help" {
			return
		}
		again := flags.Lookup(f.Name)
		for _, text := range givenTo(f) {
			if err := again.Value.Set(text); err != nil {
				wrong = append(wrong, mistake(f, "%w", err))
			}
		}
		again.Changed = true
	})
	if len(wrong) > 0 {
		return nil, nil, wrong.orNil()
	}
	return s, flags, applySettings(flags, r.env)
}

// givenTo returns the texts that a flag was set to.
func givenTo(f *pflag.Flag) []string {
	if v, ok := f.Value.(interface{ given() []string }); ok && f.Changed {
		return v.given()
	}
	return nil
}

// takenOver are the settings that reload takes over, or whose name begins so.
var takenOver = []string{"identity", "jwt-", "jwks-", "auth-", "allow-channels", "deny-channels", "server-only", "admin-key", "log-level"}

// needRestart names the settings that are not what they were, and stay so.
func (r *reloader) needRestart(flags *pflag.FlagSet) (names []string) {
	flags.VisitAll(func(f *pflag.Flag) {
		before := r.flags.Lookup(f.Name)
		can := slices.ContainsFunc(takenOver, func(name string) bool { return strings.HasPrefix(f.Name, name) })
		if before != nil && !can && !slices.Equal(givenTo(before), givenTo(f)) {
			names = append(names, f.Name)
		}
	})
	return names
}
