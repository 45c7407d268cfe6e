package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/messagebus-go/messagebus/bus/driver"
)

func newReset() *cobra.Command {
	store, yes := defaultStore, false
	cmd := &cobra.Command{
		Use:   "reset",
		Short: "Delete every message of a store, as the gem's reset! does",
		Long: `Delete every message of a store, of all channels and sites, as the gem's reset! does.

Ids begin again. Subscribers of this project are told; others, and clients of the
gem, may miss what comes until they subscribe anew. There is no way back.`,
		Example: "  messagebus reset --yes --store redis://127.0.0.1:6379",
		Args:    arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			backend, err := openBackend(store)
			if err != nil {
				return err
			}
			defer backend.Close()
			if !yes {
				return usagef("--yes is missing: all messages of %s would be deleted for good", shownURL(store))
			}
			return reset(cmd, backend)
		},
	}
	annotate(addString(cmd.Flags(), &store, "store", "URL", storeUsage), maskedURLFlag)
	addSwitch(cmd.Flags(), &yes, "yes", "yes, delete them")
	return cmd
}

// openBackend opens a store that others see, without a bus on it.
func openBackend(rawURL string) (driver.Backend, error) {
	kind, err := findStore(rawURL)
	if err != nil {
		return nil, err
	}
	if !kind.shared {
		return nil, usagef("--store %s is gone when this command ends, and nobody else sees it", kind.form)
	}
	return kind.open(rawURL)
}

func reset(cmd *cobra.Command, backend driver.Backend) error {
	inner := backend
	if o, ok := backend.(owned); ok {
		inner = o.Backend
	}
	resetter, ok := inner.(driver.Resetter)
	if !ok {
		return errors.New("this store cannot be reset")
	}
	if err := resetter.Reset(cmd.Context()); err != nil {
		return fmt.Errorf("the store may be reset in part: %w", err)
	}
	return (&lines{w: cmd.OutOrStdout()}).write(struct {
		Reset bool `json:"reset"`
	}{true})
}
