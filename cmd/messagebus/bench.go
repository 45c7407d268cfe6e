package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/load"
)

// benchCommand is a load on a running server, which is published to by its admin listener or
// its store.
type benchCommand struct {
	reach

	asJSON bool
	load   load.Options
}

// benchAge is how long the messages of a run are kept, in seconds.
const benchAge = int64(60)

func newBench() *cobra.Command {
	b := &benchCommand{load: load.Options{Clients: 100, Channels: 10, Rate: 100, Duration: 10 * time.Second, Payload: 100}}
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Put a load on a running server and measure what comes of it",
		Long: `Put a load on a running server and measure what comes of it: clients that hold a
request each, as pages do, and messages that are published over channels of this run
alone. What is missing or comes twice is counted, and the time from publish to client.

Messages are published through the admin listener, or onto the store of the server.
They are kept for a minute. On a store in use they displace what its global backlog
holds, which Ruby processes of older gems and SubscribeAll read.

All clients come from one address and are anonymous, unless --request-header says who
they are: the server has to allow so many (--max-held-per-address, --max-held). This
process is on the machine too: at high rates it is what is measured, so better run it
on another one.

A terminal is shown how far it is, and a table at the end; a pipe gets JSON.

Exit codes: 0 each client has each message once and no gap, 1 not so, or no client could be
connected, 2 wrong usage.`,
		Example: `  messagebus bench --url http://127.0.0.1:7410 --server http://127.0.0.1:7411
  messagebus bench --url http://127.0.0.1:7410 --store redis://127.0.0.1:6379 --clients 1000 --rate 10 --duration 1m`,
		Args: arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := b.open(cmd.Flags())
			if err != nil {
				return err
			}
			defer s.Close()
			return b.run(cmd, s)
		},
	}
	flags := cmd.Flags()
	b.addFlags(flags)
	addString(flags, &b.load.URL, "url", "URL", "public address of the server")
	addFlag(flags, &b.load.Clients, "clients", "N", "clients, each with one channel", count(1))
	addFlag(flags, &b.load.Channels, "channels", "N", "channels that they and the messages are spread over", count(1))
	addFlag(flags, &b.load.Rate, "rate", "N", "messages a second, of all channels together", count(1))
	addFlag(flags, &b.load.Duration, "duration", "D", "how long messages are published", duration(time.Millisecond))
	addFlag(flags, &b.load.Payload, "payload", "N", "bytes that a message carries beside its number", count(0))
	addHeaders(flags, &b.load.Header, "request-header", "header of every request of a client")
	addSwitch(flags, &b.asJSON, "json", "print JSON on a terminal too")
	return cmd
}

func (b *benchCommand) run(cmd *cobra.Command, s service) error {
	if b.load.URL == "" {
		return usagef("--url is missing: the public address of the server, such as http://127.0.0.1:7410")
	}
	b.load.Publish = func(ctx context.Context, channel string, data json.RawMessage) error {
		_, err := s.publish(ctx, &publication{Channel: channel, Data: data, MaxBacklogAge: new(benchAge)})
		return err
	}
	run := load.New(b.load, rand.Text())
	stop := tell(terminal(cmd.ErrOrStderr()), 200*time.Millisecond, func() string { return loadLine(run.Progress()) })
	report, err := run.Do(cmd.Context())
	stop()
	if err != nil {
		return err
	}
	if err := b.print(cmd.OutOrStdout(), report); err != nil {
		return &outputError{err}
	}
	if report.Missing != 0 || report.Repeated != 0 || report.Gaps != 0 {
		return fmt.Errorf("of %d deliveries %d are missing, %d came again, and %d gaps were reported",
			report.Delivered+report.Missing, report.Missing, report.Repeated, report.Gaps)
	}
	return nil
}

func (b *benchCommand) print(w io.Writer, report load.Report) error {
	if b.asJSON || terminal(w) == nil {
		return encode(w, report)
	}
	return loadTable(w, report)
}

func loadTable(w io.Writer, r load.Report) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	perSecond := func(n int64) string { return fmt.Sprintf("%.0f a second", float64(n)/r.Seconds) }
	milliseconds := func(ms float64) string { return fmt.Sprintf("%.1f ms", ms) }
	for _, row := range [][2]string{
		{"clients", fmt.Sprintf("%d on %d channels, connected in %.1f s", r.Clients, r.Channels, r.ConnectSeconds)},
		{"published", fmt.Sprintf("%d, %s", r.Published, perSecond(r.Published))},
		{"refused", strconv.FormatInt(r.Refused, 10)},
		{"delivered", fmt.Sprintf("%d, %s", r.Delivered, perSecond(r.Delivered))},
		{"missing", strconv.FormatInt(r.Missing, 10)},
		{"came again", strconv.FormatInt(r.Repeated, 10)},
		{"gaps reported", strconv.FormatInt(r.Gaps, 10)},
		{"latency p50", milliseconds(r.Latency.P50)},
		{"p90", milliseconds(r.Latency.P90)},
		{"p99", milliseconds(r.Latency.P99)},
		{"longest", milliseconds(r.Latency.Max)},
		{"errors", strings.TrimSpace(fmt.Sprintf("%d %s", r.Errors, oneLine(r.FirstError)))},
	} {
		fmt.Fprintf(table, "%s\t  %s\n", row[0], row[1])
	}
	return table.Flush()
}

// loadLine fits into 80 columns.
func loadLine(p load.Progress) string {
	const width = 20
	if p.Part == 0 && p.Connected < p.Clients {
		return fmt.Sprintf("%s %d of %d clients", bar(width, float64(p.Connected)/float64(p.Clients)), p.Connected, p.Clients)
	}
	return fmt.Sprintf("%s %d out, %d in, p50 %.1f ms, p99 %.1f ms", bar(width, p.Part), p.Published, p.Delivered, p.Latency.P50, p.Latency.P99)
}

func bar(width int, part float64) string {
	full := int(part * float64(width))
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", width-full) + "]"
}
