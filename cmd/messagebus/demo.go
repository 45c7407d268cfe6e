package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/demo"
	"github.com/messagebus-go/messagebus/transport"
)

type demoCommand struct{ listen, store string }

func newDemo() *cobra.Command {
	d := &demoCommand{listen: "127.0.0.1:8080", store: defaultStore}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Serve a chat to try the bus with",
		Long: `Serve a chat to try the bus with, and print its address.

Open it in two windows. Everything they show goes over the bus.`,
		Example: "  messagebus demo\n  messagebus demo --listen :8080",
		Args:    arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return d.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	addFlag(cmd.Flags(), &d.listen, "listen", "ADDR", "address of the chat", address)
	addString(cmd.Flags(), &d.store, "store", "URL", storeUsage)
	return cmd
}

func (d *demoCommand) run(ctx context.Context, stdout, stderr io.Writer) error {
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	options := &transport.Options{Limits: transport.LimitOptions{MaxHeld: max(defaultMaxHeld(), 1)}, Logger: log}
	return withBus(d.store, &bus.Options{Logger: log}, options, stopTimeout, func(b *bus.Bus, messages *transport.Handler) error {
		site, err := demo.NewHandler(b, messages, &demo.Options{Logger: log})
		if err != nil {
			return err
		}
		listener, err := listen(ctx, d.listen, os.LookupEnv)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(stdout, "The chat is at http://%s/ - open it in two windows. Ctrl-C ends it.\n", reachable(listener.Addr())); err != nil {
			_ = listener.Close() // nothing was served on it
			return &outputError{err}
		}
		return runServers(ctx, log, messages, stopTimeout, newServer(listener, site, log))
	})
}
