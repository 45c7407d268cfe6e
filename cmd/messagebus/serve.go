package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/ws"
)

type serveCommand struct {
	listen, store, basePath string
	hold                    time.Duration
	maxHeld                 int
	perUser, perAddress     int
	origins                 []string
	noLongPoll, noChunked   bool
	header                  http.Header
	identity                string
	trusted                 prefixes
	adminListen, adminKey   string
	retention               bus.Options
}

func newServe() *cobra.Command {
	s := &serveCommand{
		listen: "127.0.0.1:8080", store: defaultStore, basePath: "/", hold: 25 * time.Second, maxHeld: defaultMaxHeld(), perUser: 100, perAddress: 500,
		identity:  identityNone,
		trusted:   prefixes{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		retention: bus.Options{MaxBacklogSize: 1000, MaxGlobalBacklogSize: 2000, MaxBacklogAge: 7 * 24 * time.Hour, ClearEvery: 1},
	}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer browsers: polling, long polling, streaming, server-sent events, WebSocket",
		Long: `Answer browsers: polling, long polling, streaming, server-sent events, WebSocket.

Clients find the bus below BASE/message-bus/. Pages of other origins may use it if
--cors-origin names them, with the cookies of this one; others cannot read its
answers, and cannot open a WebSocket. Behind a proxy set --trusted-proxies, or all
of its clients count as one address. The admin listener, never open to
the public, publishes (POST /publish), reads (GET /backlog, /last-id, /subscribe)
and tells how the bus is doing (GET /health). It wants its key as
"Authorization: Bearer KEY", and needs one unless its address is loopback.`,
		Example: `  messagebus serve --listen 127.0.0.1:7410 --admin-listen 127.0.0.1:7411
  curl -d '{"channel":"/chat","data":"hello"}' http://127.0.0.1:7411/publish
  curl -d /chat=0 'http://127.0.0.1:7410/message-bus/me/poll?dlp=t'

  MESSAGEBUS_ADMIN_KEY=secret messagebus serve --listen :80 --admin-listen :7411 --cors-origin 'https://*.example.com'
  messagebus serve --identity header --trusted-proxies 10.0.0.0/8 --listen :8080`,
		Args: arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.run(cmd.Context(), cmd.ErrOrStderr(), cmd.Flags())
		},
	}
	s.addFlags(cmd.Flags())
	return cmd
}

func (s *serveCommand) addFlags(flags *pflag.FlagSet) {
	addFlag(flags, &s.listen, "listen", "ADDR", "address for clients", address)
	addString(flags, &s.store, "store", "URL", storeUsage)
	addString(flags, &s.basePath, "base-path", "PATH", "path below which message-bus/ lies")
	addFlag(flags, &s.hold, "hold", "D", "how long a request is held at most", duration(time.Millisecond))
	addFlag(flags, &s.maxHeld, "max-held", "N",
		"how many requests are held at a time, further ones are answered at once; by default three quarters of the limit of open files", count(0))
	addFlag(flags, &s.perUser, "max-held-per-user", "N", "how many of them for one user, who gets 429 for more; 0: no limit", count(0))
	addFlag(flags, &s.perAddress, "max-held-per-address", "N", "how many for the anonymous clients of one address; 0: no limit", count(0))
	addOrigins(flags, &s.origins)
	addSwitch(flags, &s.noLongPoll, "no-long-poll", "answer every request at once")
	addSwitch(flags, &s.noChunked, "no-chunked", "the first message ends a held request: no streaming")
	addHeaders(flags, &s.header)
	addFlag(flags, &s.identity, "identity", "none|header", "header: believe the "+identityHeader+" of a trusted proxy", parseIdentityMode)
	addFlag(flags, &s.trusted, "trusted-proxies", "CIDRS", "networks of the proxies that are believed: their X-Forwarded-For, and with --identity header who the client is", parsePrefixes)
	addFlag(flags, &s.adminListen, "admin-listen", "ADDR", "address for operators, never the public one; without it there is none", address)
	addString(flags, &s.adminKey, "admin-key", "KEY", "key of the admin listener; better given in MESSAGEBUS_ADMIN_KEY, which other users do not see")
	addFlag(flags, &s.retention.MaxBacklogSize, "max-backlog-size", "N", "messages kept of each channel", count(1))
	addFlag(flags, &s.retention.MaxGlobalBacklogSize, "max-global-backlog-size", "N", "messages kept of all channels", count(1))
	addFlag(flags, &s.retention.MaxBacklogAge, "max-backlog-age", "D", "how long a channel's messages are kept after its newest one", duration(time.Second))
	addFlag(flags, &s.retention.ClearEvery, "clear-every", "N", "trim at every Nth message of a channel", count(1))
}

func (s *serveCommand) run(ctx context.Context, stderr io.Writer, flags *pflag.FlagSet) error {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if flags.Changed("admin-key") {
		if err := checkKey("admin-key", s.adminKey); err != nil {
			return err
		}
	}
	adminAddress, err := s.adminAddress(ctx)
	if err != nil {
		return err
	}
	s.retention.Logger = log
	return withBus(s.store, &s.retention, s.transportOptions(log), func(b *bus.Bus, messages *transport.Handler) error {
		servers, err := s.open(ctx, log, b, messages, adminAddress)
		if err != nil {
			return err
		}
		return runServers(ctx, log, messages, servers...)
	})
}

// adminAddress resolves --admin-listen, so that the address that is checked is
// the one that is listened on. It refuses one without a key that others reach.
func (s *serveCommand) adminAddress(ctx context.Context) (string, error) {
	if s.adminListen == "" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(s.adminListen)
	if err != nil {
		return "", asUsage(err)
	}
	resolved := s.adminListen
	loopback := false
	if host != "" {
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return "", fmt.Errorf("--admin-listen %s: %w", s.adminListen, err)
		}
		ip := preferIPv4(ips)
		loopback = ip.IsLoopback()
		resolved = net.JoinHostPort(ip.String(), port)
	}
	if !loopback && s.adminKey == "" {
		return "", usagef("--admin-listen %s is not a loopback address, so --admin-key (or %s) is required; or listen on 127.0.0.1:%s",
			s.adminListen, envName("admin-key"), port)
	}
	return resolved, nil
}

// preferIPv4 chooses as net.Listen does.
func preferIPv4(ips []netip.Addr) netip.Addr {
	for _, ip := range ips {
		if ip.Unmap().Is4() {
			return ip.Unmap()
		}
	}
	return ips[0]
}

func (s *serveCommand) transportOptions(log *slog.Logger) *transport.Options {
	opts := &transport.Options{
		BasePath: s.basePath,
		LongPoll: transport.LongPollOptions{Disabled: s.noLongPoll, Hold: s.hold, DisableChunked: s.noChunked},
		Limits: transport.LimitOptions{
			// There, 0 is the default, and no limit is negative; as is none held.
			MaxHeld: orNegative(s.maxHeld), MaxHeldPerUser: orNegative(s.perUser), MaxHeldPerAddress: orNegative(s.perAddress),
		},
		TrustedProxies: s.trusted,
		Origins:        s.origins,
		WebSocket:      ws.Accept,
		Logger:         log,
	}
	if s.identity == identityByName {
		opts.Identify = proxyIdentity{s.trusted}.identify
	}
	if len(s.header) > 0 {
		opts.Header = func(_ *http.Request, h http.Header) {
			for name, values := range s.header {
				h[name] = slices.Clip(values)
			}
		}
	}
	return opts
}

func orNegative(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// open opens the listeners, all or none.
func (s *serveCommand) open(ctx context.Context, log *slog.Logger, b *bus.Bus, messages *transport.Handler, adminAddress string) ([]*server, error) {
	public, err := listen(ctx, s.listen)
	if err != nil {
		return nil, err
	}
	servers := []*server{newServer(public, messages, log)}
	if adminAddress != "" {
		listener, err := listen(ctx, adminAddress)
		if err != nil {
			_ = public.Close() // nothing was served on it
			return nil, err
		}
		servers = append(servers, newAdminServer(listener, &admin{service: local{b}, held: messages.Held, key: s.adminKey}, log))
		log.Info("listening for operators", "address", listener.Addr().String())
	}
	log.Info("listening for clients", "address", public.Addr().String())
	return servers, nil
}
