package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/strictjson"
)

// reach says where a command that ends finds the messages: on a store, or
// through a server.
type reach struct {
	store, server, key string
}

func (r *reach) addFlags(flags *pflag.FlagSet) {
	r.store = defaultStore
	addString(flags, &r.store, "store", "URL", storeUsage)
	r.addServerFlags(flags, "admin listener of a running server, instead of a store")
}

func (r *reach) addServerFlags(flags *pflag.FlagSet, usage string) {
	addString(flags, &r.server, "server", "URL", usage)
	addString(flags, &r.key, "key", "KEY", "key of the admin listener")
}

// open opens the store or the server, whichever was asked for last: a flag
// wins over the environment.
func (r *reach) open(flags *pflag.FlagSet) (service, error) {
	if r.useServer(flags) {
		if typed(flags, "store") || !typed(flags, "server") && flags.Changed("store") {
			return nil, usagef("--store and --server exclude each other: the messages are on a store or behind a server")
		}
		return r.openServer(flags)
	}
	if typed(flags, "key") {
		return nil, usagef("--key goes with --server; a store has its password in its URL")
	}
	b, err := openSharedStore(r.store)
	if err != nil {
		return nil, err
	}
	return local{b}, nil
}

// openServer opens the server, whatever else there is.
func (r *reach) openServer(flags *pflag.FlagSet) (*remote, error) {
	if flags.Changed("key") {
		if err := checkKey("key", r.key); err != nil {
			return nil, err
		}
	}
	return newRemote(r.server, r.key)
}

func (r *reach) useServer(flags *pflag.FlagSet) bool {
	if typed(flags, "store") && !typed(flags, "server") {
		return false
	}
	return flags.Changed("server")
}

// addSite adds the flag for a site; without it nothing of a site is meant.
func addSite(flags *pflag.FlagSet, site **string) {
	f := addFlag(flags, site, "site", "SITE", "site of the messages; without it those of no site", optional(anyText))
	f.DefValue = ""
}

type publishCommand struct {
	reach

	text, stdin   bool
	users, groups []bus.ID
	clients       []string
	site          *string
	backlogSize   *int
	backlogAge    *time.Duration
}

func newPublish() *cobra.Command {
	p := &publishCommand{}
	cmd := &cobra.Command{
		Use:   "publish CHANNEL JSON",
		Short: "Publish one message and print its id, or many from standard input",
		Long: `Publish one message and print its id as {"id":7}.

The message is JSON, or with --text the text itself; - reads it from standard
input. Without targets everyone may have it.

With --stdin each line of standard input is a message, as POST /publish takes it:

  {"channel":"/chat","data":"hello","user_ids":[7],"max_backlog_size":10}

Many are published at a time, those of one channel in their order. The first that
fails ends it, and the error names its line; a count is printed in any case.`,
		Example: `  messagebus publish /chat '{"from":"me","text":"hello"}' --server http://127.0.0.1:7411
  messagebus publish /chat hello --text --users '[7,"ann"]' --server http://127.0.0.1:7411
  messagebus publish /jobs - --max-backlog-size 0 --server http://127.0.0.1:7411 <job.json
  messagebus publish --server http://127.0.0.1:7411 /temperature -- -5
  messagebus publish --stdin --store redis://127.0.0.1:6379 <messages.jsonl`,
		Args: func(cmd *cobra.Command, args []string) error {
			if p.stdin {
				return arguments(0, 0, "nothing but flags with --stdin")(cmd, args)
			}
			return arguments(2, 2, "a channel and a message")(cmd, args)
		},
		RunE: p.run,
	}
	flags := cmd.Flags()
	p.addFlags(flags)
	addSwitch(flags, &p.stdin, "stdin", "publish the lines of standard input")
	addSwitch(flags, &p.text, "text", "the message is text, not JSON")
	addFlag(flags, &p.users, "users", "LIST", `users who may have it, as JSON: '[1,"a"]'`, parseIDs).DefValue = ""
	addFlag(flags, &p.groups, "groups", "LIST", `groups that may have it, as JSON: '[1,"a"]'`, parseIDs).DefValue = ""
	addFlag(flags, &p.clients, "clients", "LIST", `clients that may have it, as JSON: '["a"]'`, parseClients).DefValue = ""
	addSite(flags, &p.site)
	addFlag(flags, &p.backlogSize, "max-backlog-size", "N",
		"keep the newest N messages of the channel; 0: none; without it the server's or the store's default", optional(count(0)))
	addFlag(flags, &p.backlogAge, "max-backlog-age", "D",
		"keep the channel's messages that long, such as 90s; 0: not at all; without it the default", optional(duration(0)))
	return cmd
}

func (p *publishCommand) run(cmd *cobra.Command, args []string) error {
	if p.stdin {
		return p.runLines(cmd)
	}
	message, err := p.publication(cmd, args)
	if err != nil {
		return err
	}
	s, err := p.open(cmd.Flags())
	if err != nil {
		return err
	}
	defer s.Close()
	id, err := s.publish(cmd.Context(), message)
	queued := errors.Is(err, bus.ErrQueued)
	if err != nil && !queued {
		return err
	}
	return (&lines{w: cmd.OutOrStdout()}).write(published{id, queued})
}

// perMessage are the flags that a line of standard input has members for.
var perMessage = []string{"text", "users", "groups", "clients", "site", "max-backlog-size", "max-backlog-age"}

func (p *publishCommand) runLines(cmd *cobra.Command) error {
	for _, name := range perMessage {
		if typed(cmd.Flags(), name) {
			return usagef("--%s is for one message; with --stdin each line says it for itself", name)
		}
	}
	s, err := p.open(cmd.Flags())
	if err != nil {
		return err
	}
	defer s.Close()
	count, err := publishLines(cmd.Context(), s, cmd.InOrStdin(), terminal(cmd.ErrOrStderr()))
	return errors.Join(err, (&lines{w: cmd.OutOrStdout()}).write(count))
}

func (p *publishCommand) publication(cmd *cobra.Command, args []string) (*publication, error) {
	channel, message := args[0], args[1]
	if message == "-" {
		var err error
		if message, err = readMessage(cmd.InOrStdin()); err != nil {
			return nil, err
		}
	}
	if !utf8.ValidString(channel) {
		return nil, usagef("the channel %q is not valid UTF-8", channel)
	}
	data, err := p.data(message)
	if err != nil {
		return nil, err
	}
	result := &publication{
		Channel: channel, Data: data,
		UserIDs: p.users, GroupIDs: p.groups, ClientIDs: p.clients, Site: p.site,
	}
	if p.backlogSize != nil {
		size := int64(*p.backlogSize)
		if size > maxBacklogSize {
			return nil, usagef("--max-backlog-size is %d; at most %d is accepted", size, maxBacklogSize)
		}
		result.MaxBacklogSize = &size
	}
	if p.backlogAge != nil {
		age := int64((*p.backlogAge + time.Second - 1) / time.Second) // a fraction must not become the nothing of 0
		result.MaxBacklogAge = &age
	}
	return result, nil
}

func (p *publishCommand) data(message string) (json.RawMessage, error) {
	if p.text {
		if !utf8.ValidString(message) {
			return nil, usagef("the text is not valid UTF-8")
		}
		var b bytes.Buffer
		err := encode(&b, message)
		return bytes.TrimSpace(b.Bytes()), err
	}
	if err := strictjson.Check([]byte(message)); err != nil {
		return nil, usagef("the message %q: %w; text is published with --text", clip(message), err)
	}
	return json.RawMessage(message), nil
}

// readMessage reads a message of at most what the bus would take.
func readMessage(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPublishBytes+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("cannot read the message from standard input: %w", err)
	case len(b) > maxPublishBytes:
		return "", asUsage(errors.New("the message on standard input is too large"))
	}
	return strings.TrimSuffix(string(b), "\n"), nil
}
