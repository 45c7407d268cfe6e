package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/messagebus-go/messagebus/bus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/identity"
	"github.com/messagebus-go/messagebus/transport"
	"github.com/messagebus-go/messagebus/transport/ws"
)

// serveCommand is what serve is told.
type serveCommand struct {
	access
	logSettings

	config                 string
	listen, basePath       string
	store, storeFile       string
	requireStore           bool
	tlsCert, tlsKey        string
	longPoll               transport.LongPollOptions
	limits                 transport.LimitOptions
	origins                []string
	header                 http.Header
	adminListen            string
	adminKey, adminKeyFile string
	bus                    bus.Options
	metricsChannels        []string
}

func defaultServe() *serveCommand {
	s := &serveCommand{
		access: defaultAccess(),
		listen: "127.0.0.1:8080", store: defaultStore, basePath: "/",
		longPoll: transport.LongPollOptions{Hold: 25 * time.Second, MaxAge: time.Hour, Heartbeat: 15 * time.Second, Drain: 5 * time.Second},
		limits: transport.LimitOptions{
			MaxHeld: defaultMaxHeld(), MaxHeldPerUser: 100, MaxHeldPerAddress: 500,
			MaxRequestBytes: 1 << 20, MaxChannels: 20000, MaxChannelBytes: 4096, MaxClientIDBytes: 1024, MaxQueuedBytes: 1 << 20,
			ReadTimeout: 15 * time.Second, WriteTimeout: 10 * time.Second,
		},
		bus: bus.Options{MaxBacklogSize: 1000, MaxGlobalBacklogSize: 2000, MaxBacklogAge: 7 * 24 * time.Hour, ClearEvery: 1},
	}
	s.trusted = prefixes{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	return s
}

func newServe(env lookup) *cobra.Command {
	s := defaultServe()
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer browsers: polling, long polling, streaming, server-sent events, WebSocket",
		Long: `Answer browsers: polling, long polling, streaming, server-sent events, WebSocket.

Clients find the bus below BASE/message-bus/. Pages of other origins may use it if
--cors-origin names them, with the cookies of this one; others cannot read its
answers, and cannot open a WebSocket. Behind a proxy set --trusted-proxies, or all
of its clients count as one address. The admin listener, never open to
the public, publishes (POST /publish), reads (GET /backlog, /last-id, /subscribe)
and tells how the bus is doing: by a dashboard in the browser at its root, by
GET /health, and by GET /metrics for Prometheus. It wants its key as
"Authorization: Bearer KEY", and needs one unless its address is loopback.

SIGTERM ends it in order: no new connections, held requests are answered over
--drain, exit code 0. SIGHUP reads --config and all files again, and takes over
who has access (identity, jwt, jwks, auth, channels), the certificate, the admin
key and the level of the log; what else has changed needs a restart.`,
		Example: `  messagebus serve --listen 127.0.0.1:7410 --admin-listen 127.0.0.1:7411
  curl -d '{"channel":"/chat","data":"hello"}' http://127.0.0.1:7411/publish
  curl -d /chat=0 'http://127.0.0.1:7410/message-bus/me/poll?dlp=t'

  MESSAGEBUS_ADMIN_KEY=secret messagebus serve --listen :80 --admin-listen :7411 --cors-origin 'https://*.example.com'
  messagebus serve --identity forward --auth-url http://127.0.0.1:3000/bus-identity --store redis://127.0.0.1:6379
  messagebus serve --identity jwt --jwks-url https://id.example.com/keys --allow-channels '/chat/*' --listen :8080
  messagebus serve --config /etc/messagebus.yaml`,
		Args: arguments(0, 0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.run(cmd, env)
		},
	}
	s.addFlags(cmd.Flags())
	return cmd
}

// addFlags adds the flags in the order in which they are read.
func (s *serveCommand) addFlags(flags *pflag.FlagSet) {
	flags.SortFlags = false
	addConfig(flags, &s.config)
	addFlag(flags, &s.listen, "listen", "ADDR", "address for clients: HOST:PORT, unix:PATH, or systemd[:NAME] for a socket that systemd has opened", address)
	annotate(addString(flags, &s.store, "store", "URL", storeUsage), maskedURLFlag)
	addString(flags, &s.storeFile, "store-file", "FILE", "file with the URL of the store")
	addSwitch(flags, &s.requireStore, "require-store", "refuse to start where the store does not answer; without it clients wait until it does, and /health says so")
	addString(flags, &s.basePath, "base-path", "PATH", "path below which message-bus/ lies")
	addString(flags, &s.tlsCert, "tls-cert", "FILE", "certificate for HTTPS to clients, with its chain, in PEM form; read again when it changes")
	addString(flags, &s.tlsKey, "tls-key", "FILE", "its key")
	addFlag(flags, &s.adminListen, "admin-listen", "ADDR", "address for operators, never the public one; without it there is none", address)
	annotate(addString(flags, &s.adminKey, "admin-key", "KEY", "key of the admin listener; better given in MESSAGEBUS_ADMIN_KEY or a file, which other users do not see"), maskedFlag)
	addString(flags, &s.adminKeyFile, "admin-key-file", "FILE", "file with the key of the admin listener")
	s.access.addFlags(flags)
	addList(flags, &s.origins, "cors-origin", "ORIGIN", "origin whose pages may use the bus, https://example.com or https://*.example.com", anyText)
	addHeaders(flags, &s.header, "header", "header for every answer of the bus")
	s.addLimits(flags)
	addFlag(flags, &s.bus.MaxBacklogSize, "max-backlog-size", "N", "messages kept of each channel", count(1))
	addFlag(flags, &s.bus.MaxGlobalBacklogSize, "max-global-backlog-size", "N", "messages kept of all channels", count(1))
	addFlag(flags, &s.bus.MaxBacklogAge, "max-backlog-age", "D", "how long a channel's messages are kept after its newest one", duration(time.Second))
	addFlag(flags, &s.bus.ClearEvery, "clear-every", "N", "trim at every Nth message of a channel", count(1))
	addList(flags, &s.metricsChannels, "metrics-channel", "CHANNEL", "channel that /metrics of the admin listener counts by its name; others are counted together", anyText)
	s.logSettings.addFlags(flags)
}

func (s *serveCommand) addLimits(flags *pflag.FlagSet) {
	addSwitch(flags, &s.longPoll.Disabled, "no-long-poll", "answer every request at once")
	addSwitch(flags, &s.longPoll.DisableChunked, "no-chunked", "the first message ends a held request: no streaming")
	addFlag(flags, &s.longPoll.Hold, "hold", "D", "how long a request is held at most", duration(time.Millisecond))
	addFlag(flags, &s.longPoll.MaxAge, "max-age", "D", "how long a WebSocket or an event stream lasts, a tenth more or less", duration(time.Millisecond))
	addFlag(flags, &s.longPoll.Heartbeat, "heartbeat", "D", "how often those are given a sign of life", duration(time.Millisecond))
	addFlag(flags, &s.longPoll.Drain, "drain", "D", "how long a server that stops takes to end what is held", duration(time.Millisecond))
	addFlag(flags, &s.limits.MaxHeld, "max-held", "N",
		"how many requests are held at a time, further ones are answered at once; by default three quarters of the limit of open files", count(0))
	addFlag(flags, &s.limits.MaxHeldPerUser, "max-held-per-user", "N", "how many of them for one user, who gets 429 for more; 0: no limit", count(0))
	addFlag(flags, &s.limits.MaxHeldPerAddress, "max-held-per-address", "N", "how many for the anonymous clients of one address; 0: no limit", count(0))
	addFlag(flags, &s.limits.MaxRequestBytes, "max-request-bytes", "N", "of a request's body", count[int64](1))
	addFlag(flags, &s.limits.MaxChannels, "max-channels", "N", "of one request", count(1))
	addFlag(flags, &s.limits.MaxChannelBytes, "max-channel-bytes", "N", "of a channel's name", count(1))
	addFlag(flags, &s.limits.MaxClientIDBytes, "max-client-id-bytes", "N", "of a client id", count(1))
	addFlag(flags, &s.limits.MaxQueuedBytes, "max-queued-bytes", "N", "that wait for one held client, before they are dropped and read from the backlog later", count(1))
	addFlag(flags, &s.limits.ReadTimeout, "read-timeout", "D", "how long a request's body may take to arrive", duration(time.Millisecond))
	addFlag(flags, &s.limits.WriteTimeout, "write-timeout", "D", "how long a client may take for 16 KiB before it is cut off", duration(time.Millisecond))
}

// opened is what the settings come to once their files are read.
type opened struct {
	store, adminKey string
	adminAddress    string
	source          identity.Source
	certificate     *certificate
}

func (o *opened) close() {
	if o.source != nil {
		o.source.Close()
	}
}

// open checks how the settings fit together and reads the files that they name.
// All mistakes are told at once. Close what it returns.
func (s *serveCommand) open(ctx context.Context, flags *pflag.FlagSet, log *slog.Logger) (*opened, error) {
	o := &opened{store: s.store, adminKey: s.adminKey}
	wrong := s.access.check(flags)
	source, more := s.access.open(flags, log)
	o.source, wrong = source, append(wrong, more...)
	wrong = append(wrong, s.readSecrets(flags, o)...)
	wrong = append(wrong, s.openCertificate(flags, log, o)...)
	if err := s.checkOptions(o); err != nil {
		wrong = append(wrong, err)
	}
	var err error
	if o.adminAddress, err = s.adminAddress(ctx, o.adminKey); err != nil {
		wrong = append(wrong, err)
	}
	if len(wrong) > 0 {
		o.close()
		return nil, wrong.orNil()
	}
	return o, nil
}

func (s *serveCommand) readSecrets(flags *pflag.FlagSet, o *opened) (wrong mistakes) {
	for _, secret := range []struct {
		name, file string
		target     *string
	}{
		{"store", s.storeFile, &o.store}, {"admin-key", s.adminKeyFile, &o.adminKey},
	} {
		fileFlag := flags.Lookup(secret.name + "-file")
		switch {
		case secret.file == "":
		case flags.Changed(secret.name):
			wrong = append(wrong, mistake(fileFlag, "there is a %s as well", secret.name))
		default:
			text, err := readSecret(secret.file)
			if err != nil {
				wrong = append(wrong, mistake(fileFlag, "%w", err))
			}
			*secret.target = text
		}
	}
	if flags.Changed("admin-key") || o.adminKey != "" {
		if err := checkKey("admin-key", o.adminKey); err != nil {
			wrong = append(wrong, err)
		}
	}
	return wrong
}

func (s *serveCommand) openCertificate(flags *pflag.FlagSet, log *slog.Logger, o *opened) (wrong mistakes) {
	switch cert, key := flags.Lookup("tls-cert"), flags.Lookup("tls-key"); {
	case s.tlsCert == "" && s.tlsKey == "":
	case s.tlsCert == "":
		wrong = append(wrong, mistake(key, "tls-cert is missing"))
	case s.tlsKey == "":
		wrong = append(wrong, mistake(cert, "tls-key is missing"))
	default:
		var err error
		if o.certificate, err = newCertificate(s.tlsCert, s.tlsKey, log); err != nil {
			wrong = append(wrong, mistake(cert, "%w", err))
		}
	}
	return wrong
}

// checkOptions has the options checked by those whom they are for, without
// anything being begun on the store.
func (s *serveCommand) checkOptions(o *opened) error {
	b, err := openStore(o.store, nil)
	if err != nil {
		return err
	}
	defer b.Close()
	handler, err := transport.NewHandler(b, s.handlerOptions(nil, nil, slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return handler.Shutdown(ctx)
}

// check does all that run does before it begins.
func (s *serveCommand) check(cmd *cobra.Command) error {
	o, err := s.open(cmd.Context(), cmd.Flags(), slog.New(slog.DiscardHandler))
	if err == nil {
		o.close()
	}
	return err
}

func (s *serveCommand) run(cmd *cobra.Command, env lookup) error {
	ctx := cmd.Context()
	log, level := s.logSettings.open(cmd.ErrOrStderr())
	o, err := s.open(ctx, cmd.Flags(), log)
	if err != nil {
		return err
	}
	gate := identity.NewGate(o.source, s.rules(), log)
	defer gate.Close()
	m, err := newMetrics(s.metricsChannels)
	if err != nil {
		return err
	}
	s.bus.Logger, s.bus.Trace = log, m.Bus()
	return withBus(o.store, &s.bus, s.handlerOptions(gate, m, log), s.stopTimeout(), func(b *bus.Bus, messages *transport.Handler) error {
		if err := s.ping(ctx, b, log); err != nil {
			return err
		}
		if err := m.Watch(b, messages); err != nil {
			return err
		}
		operators := newAdmin(b, messages.Held, o.adminKey, m.handler())
		defer s.showDashboard(operators, b, messages, m, o.store)()
		servers, err := s.listenAll(ctx, env, log, o, gate.Wrap(messages), operators)
		if err != nil {
			return err
		}
		r := &reloader{flags: cmd.Flags(), env: env, log: log, level: level, gate: gate, admin: operators, certificate: o.certificate}
		defer r.start()()
		tellSystemd(log, env, "READY=1")
		defer context.AfterFunc(ctx, func() { tellSystemd(log, env, "STOPPING=1") })()
		return runServers(ctx, log, messages, s.stopTimeout(), servers...)
	})
}

func tellSystemd(log *slog.Logger, env lookup, state string) {
	if err := notify(env, state); err != nil {
		log.Warn("systemd cannot be told", "state", state, "error", err)
	}
}

// stopTimeout leaves --drain the half of it that a handler may use.
func (s *serveCommand) stopTimeout() time.Duration {
	return max(stopTimeout, 2*s.longPoll.Drain+time.Second)
}

// pingTimeout is how long a store may take that is required.
const pingTimeout = 10 * time.Second

// ping asks the store whether it is there: where it must be, to refuse, and
// where not, to say so.
func (s *serveCommand) ping(ctx context.Context, b *bus.Bus, log *slog.Logger) error {
	if !s.requireStore {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	if _, err := b.LastID(ctx, "/"); err != nil {
		return fmt.Errorf("the store does not answer, and --require-store is given: %w", err)
	}
	log.Info("the store answers")
	return nil
}

// adminAddress resolves --admin-listen, so that the address that is checked is
// the one that is listened on. It refuses one without a key that others reach.
func (s *serveCommand) adminAddress(ctx context.Context, key string) (string, error) {
	resolved, loopback, err := resolveAdmin(ctx, s.adminListen)
	if err != nil {
		return "", err
	}
	if !loopback && key == "" {
		return "", usagef("--admin-listen %s is not a loopback address, so --admin-key (or %s) is required; or listen on 127.0.0.1 or unix:PATH",
			s.adminListen, envName("admin-key"))
	}
	return resolved, nil
}

// resolveAdmin returns an address without names, and whether only users of this
// machine reach it. A Unix socket is for its user and group.
func resolveAdmin(ctx context.Context, listen string) (resolved string, loopback bool, err error) {
	if listen == "" || strings.HasPrefix(listen, unixPrefix) {
		return listen, true, nil
	}
	if strings.HasPrefix(listen, systemd) {
		return listen, false, nil // known only when it is opened
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil || host == "" {
		return listen, false, asUsage(err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return "", false, fmt.Errorf("--admin-listen %s: %w", listen, err)
	}
	ip := preferIPv4(ips)
	return net.JoinHostPort(ip.String(), port), ip.IsLoopback(), nil
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

func (s *serveCommand) handlerOptions(gate *identity.Gate, m *metrics, log *slog.Logger) *transport.Options {
	limits := s.limits
	// There, 0 is the default, and no limit is negative; as is none held.
	for _, n := range []*int{&limits.MaxHeld, &limits.MaxHeldPerUser, &limits.MaxHeldPerAddress} {
		if *n == 0 {
			*n = -1
		}
	}
	opts := &transport.Options{
		BasePath: s.basePath, LongPoll: s.longPoll, Limits: limits,
		TrustedProxies: s.trusted, Origins: s.origins, WebSocket: ws.Accept, Logger: log,
	}
	if m != nil {
		opts.Trace = m.Transport()
	}
	if gate != nil {
		opts.Identify, opts.Authorize, opts.OnError = gate.Identify, gate.Authorize, gate.OnError
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

// listenAll opens the listeners, all or none.
func (s *serveCommand) listenAll(ctx context.Context, env lookup, log *slog.Logger, o *opened, messages, operators http.Handler) ([]*server, error) {
	public, err := listen(ctx, s.listen, env)
	if err != nil {
		return nil, err
	}
	clients := newServer(public, messages, log)
	if o.certificate != nil {
		clients.http.TLSConfig = o.certificate.config()
	}
	servers := []*server{clients}
	if o.adminAddress != "" {
		listener, err := listen(ctx, o.adminAddress, env)
		if err != nil {
			_ = public.Close() // nothing was served on it
			return nil, err
		}
		servers = append(servers, newAdminServer(listener, operators, log))
		log.Info("listening for operators", "address", listener.Addr().String())
	}
	log.Info("listening for clients", "address", public.Addr().String(), "tls", o.certificate != nil)
	return servers, nil
}
