package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cache"
)

// cacheTimeout is how long a command that ends at once waits for the store.
const cacheTimeout = 30 * time.Second

// anyCache holds whatever peers in Go and Ruby can have.
type anyCache = cache.Cache[cache.AnyKey, json.RawMessage]

// cacheReach says which cache a command is about.
type cacheReach struct {
	store, version string
	site           *string
	jsonKey        bool
}

// changeLine is one change of a cache.
type changeLine struct {
	Op     cache.Op        `json:"op"`
	Key    json.RawMessage `json:"key,omitempty"`
	Value  json.RawMessage `json:"value,omitempty"`
	Origin string          `json:"origin,omitempty"`
	ID     int64           `json:"id,omitempty"`
}

// entryLine is one entry of a cache.
type entryLine struct {
	Key   cache.AnyKey    `json:"key"`
	Value json.RawMessage `json:"value"`
}

const cacheHelp = `Look at and change a distributed cache, which Go and Ruby processes share.

KEY is a string, or JSON with --json-key: integers, floats and null are other keys
than the strings that look like them. A fresh peer, such as one of these commands,
knows what the backlog of the channel still tells: get and dump print no more.`

func newCache() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "cache",
		Short:   "Look at and change a distributed cache",
		Long:    cacheHelp,
		Example: "  messagebus cache watch users --store redis://127.0.0.1:6379",
		Args:    cobra.ArbitraryArgs,
		RunE:    unknownCommand,
	}
	cmd.AddCommand(newCacheWatch(), newCacheGet(), newCacheSet(), newCacheDelete(), newCacheClear(), newCacheDump())
	return cmd
}

// command makes one command about a cache; with key it takes a key after the name.
func (r *cacheReach) command(use, short string, n int, what string, run func(cmd *cobra.Command, args []string) error) *cobra.Command {
	name, _, _ := strings.Cut(use, " ")
	cmd := &cobra.Command{
		Use: use, Short: short, Args: arguments(n, n, what), RunE: run,
		Example: "  messagebus cache " + name + " users" + map[int]string{2: " ann", 3: ` ann '{"age":44}'`}[n] + " --store redis://127.0.0.1:6379",
	}
	addString(cmd.Flags(), &r.store, "store", "URL", storeUsage)
	addString(cmd.Flags(), &r.version, "app-version", "V", "version that operations carry and must have")
	addSite(cmd.Flags(), &r.site)
	if n > 1 {
		addSwitch(cmd.Flags(), &r.jsonKey, "json-key", "KEY is JSON")
	}
	return cmd
}

// open opens the cache of that name; warm: with what the backlog has.
func (r *cacheReach) open(ctx context.Context, name string, warm bool, changed func(cache.Change[cache.AnyKey, json.RawMessage])) (*anyCache, io.Closer, error) {
	if r.store == "" || strings.HasPrefix(r.store, defaultStore) {
		return nil, nil, usagef("--store URL of a store that others see is needed, such as redis://127.0.0.1:6379")
	}
	b, err := openSharedStore(r.store)
	if err != nil {
		return nil, nil, err
	}
	view := b
	if r.site != nil {
		view = b.Site(*r.site)
	}
	opts := &cache.Options[cache.AnyKey, json.RawMessage]{WarmStart: warm, OnChange: changed}
	if r.version != "" {
		opts.AppVersion = r.version
	}
	c, err := cache.New(ctx, view, name, opts)
	if err != nil {
		return nil, nil, errors.Join(err, b.Close())
	}
	return c, cacheAndBus{c, b}, nil
}

// cacheAndBus closes both, in order.
type cacheAndBus struct {
	cache *anyCache
	bus   *bus.Bus
}

func (cb cacheAndBus) Close() error { return errors.Join(cb.cache.Close(), cb.bus.Close()) }

func (r *cacheReach) key(arg string) (cache.AnyKey, error) {
	if !r.jsonKey {
		return cache.StringKey(arg), nil
	}
	key, err := cache.ParseKey([]byte(arg))
	return key, asUsage(err)
}

// do opens a cache for a command that ends at once.
func (r *cacheReach) do(ctx context.Context, name string, warm bool, f func(context.Context, *anyCache) error) error {
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	c, closer, err := r.open(ctx, name, warm, nil)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, c), closer.Close())
}

func newCacheGet() *cobra.Command {
	var r cacheReach
	return r.command("get NAME KEY", "Print the value of a key", 2, "the name of a cache and a key", func(cmd *cobra.Command, args []string) error {
		key, err := r.key(args[1])
		if err != nil {
			return err
		}
		return r.do(cmd.Context(), args[0], true, func(_ context.Context, c *anyCache) error {
			value, ok := c.Get(key)
			if !ok {
				return fmt.Errorf("the cache %q has no key %v, as far as the backlog tells", args[0], key)
			}
			return (&lines{w: cmd.OutOrStdout()}).write(value)
		})
	})
}

func newCacheSet() *cobra.Command {
	var r cacheReach
	cmd := r.command("set NAME KEY JSON", "Set a key, at every peer", 3, "the name of a cache, a key and a value", func(cmd *cobra.Command, args []string) error {
		key, err := r.key(args[1])
		if err != nil {
			return err
		}
		if !json.Valid([]byte(args[2])) {
			return usagef("the value %q: not JSON", clip(args[2]))
		}
		return r.do(cmd.Context(), args[0], false, func(ctx context.Context, c *anyCache) error {
			return c.Set(ctx, key, json.RawMessage(args[2]))
		})
	})
	cmd.Long = `Set a key, at every peer. What begins with a hyphen stands after two of them:

  messagebus cache set --store redis://127.0.0.1:6379 balances ann -- -7`
	return cmd
}

func newCacheDelete() *cobra.Command {
	var r cacheReach
	return r.command("delete NAME KEY", "Remove a key, at every peer", 2, "the name of a cache and a key", func(cmd *cobra.Command, args []string) error {
		key, err := r.key(args[1])
		if err != nil {
			return err
		}
		return r.do(cmd.Context(), args[0], false, func(ctx context.Context, c *anyCache) error { return c.Delete(ctx, key) })
	})
}

func newCacheClear() *cobra.Command {
	var r cacheReach
	return r.command("clear NAME", "Remove every key, at every peer", 1, "the name of a cache", func(cmd *cobra.Command, args []string) error {
		return r.do(cmd.Context(), args[0], false, func(ctx context.Context, c *anyCache) error { return c.Clear(ctx) })
	})
}

func newCacheDump() *cobra.Command {
	var r cacheReach
	cmd := r.command("dump NAME", "Print what a fresh peer knows", 1, "the name of a cache", func(cmd *cobra.Command, args []string) error {
		return r.do(cmd.Context(), args[0], true, func(_ context.Context, c *anyCache) error {
			var entries []entryLine
			for key, value := range c.All() {
				entries = append(entries, entryLine{key, value})
			}
			slices.SortFunc(entries, func(a, b entryLine) int { return strings.Compare(a.Key.String(), b.Key.String()) })
			out := &lines{w: cmd.OutOrStdout()}
			for _, e := range entries {
				if err := out.write(e); err != nil {
					return err
				}
			}
			return nil
		})
	})
	cmd.Long = "Print what a fresh peer knows, as the backlog tells it, one JSON object a line:\n\n" + `  {"key":"ann","value":{"age":44}}`
	return cmd
}

func newCacheWatch() *cobra.Command {
	var r cacheReach
	cmd := r.command("watch NAME", "Print the changes of a cache as they come", 1, "the name of a cache", func(cmd *cobra.Command, args []string) error {
		return r.watch(cmd.Context(), args[0], &lines{w: cmd.OutOrStdout()})
	})
	cmd.Long = `Print the changes of a cache as they come, one JSON object a line:

  {"op":"set","key":"ann","value":{"age":44},"origin":"…","id":7}

op is set, delete or clear; or drop, where changes may have been missed, so that
everything that is known is to be forgotten. It goes on until it is interrupted.`
	return cmd
}

func (r *cacheReach) watch(ctx context.Context, name string, out *lines) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_, closer, err := r.open(ctx, name, false, func(change cache.Change[cache.AnyKey, json.RawMessage]) {
		if err := out.write(lineOfChange(change)); err != nil {
			cancel(err)
		}
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	err = closer.Close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

func lineOfChange(change cache.Change[cache.AnyKey, json.RawMessage]) changeLine {
	line := changeLine{Op: change.Op, Origin: change.Origin, ID: change.ID}
	if change.Op == cache.OpSet || change.Op == cache.OpDelete {
		line.Key = json.RawMessage(change.Key.String())
	}
	if change.Op == cache.OpSet {
		line.Value = change.Value
	}
	return line
}
