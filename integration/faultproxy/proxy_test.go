package faultproxy_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/faultproxy"
)

// silence is how long nothing has to come for a test to believe that nothing will.
const silence = 200 * time.Millisecond

func TestProxy_PassesBothDirectionsAndCounts(t *testing.T) {
	t.Parallel()
	p := faultproxy.Start(t, echo(t))
	c := dial(t, p)
	c.say("hello")
	c.hears("hello")
	if out, in := p.Passed(faultproxy.ToServer), p.Passed(faultproxy.ToClient); out != 6 || in != 6 {
		t.Errorf("%d bytes to the server and %d to the client, want 6 and 6", out, in)
	}
	c.CloseWrite()
	if _, err := c.lines.ReadString('\n'); !errors.Is(err, io.EOF) {
		t.Errorf("the end was passed on as %v", err)
	}
}

func TestProxy_CutsWhatIsOpen(t *testing.T) {
	t.Parallel()
	p := faultproxy.Start(t, echo(t))
	c := dial(t, p)
	c.say("hello")
	c.hears("hello")
	if n := p.Cut(); n != 1 {
		t.Errorf("cut %d connections, want 1", n)
	}
	if _, err := c.lines.ReadString('\n'); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a cut connection ended with %v, want a reset", err)
	}
	again := dial(t, p)
	again.say("hello")
	again.hears("hello")
}

func TestProxy_SwallowsOneDirection(t *testing.T) {
	t.Parallel()
	for name, direction := range map[string]faultproxy.Direction{
		"to the server": faultproxy.ToServer,
		"to the client": faultproxy.ToClient,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := faultproxy.Start(t, echo(t))
			old := dial(t, p)
			old.say("hello")
			old.hears("hello")
			passed := p.Passed(faultproxy.ToServer)

			p.Swallow(direction)
			old.say("lost")
			old.hearsNothing()
			if reached := p.Passed(faultproxy.ToServer) > passed; reached != (direction == faultproxy.ToClient) {
				t.Errorf("the server was reached: %v", reached)
			}
			fresh := dial(t, p)
			fresh.say("lost as well")
			fresh.hearsNothing()

			p.Restore()
			old.say("still lost")
			old.hearsNothing()
			healed := dial(t, p)
			healed.say("hello")
			healed.hears("hello")
		})
	}
}

func TestProxy_RefusesNewConnectionsAlone(t *testing.T) {
	t.Parallel()
	p := faultproxy.Start(t, echo(t))
	old := dial(t, p)
	old.say("hello")
	old.hears("hello")
	p.Refuse()
	// The system may take the connection, and be told a moment later.
	if conn, err := net.Dial("tcp", p.Address()); err == nil {
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a refused connection ended with %v, want a reset", err)
		}
	}
	old.say("hello")
	old.hears("hello")
	p.Restore()
	fresh := dial(t, p)
	fresh.say("hello")
	fresh.hears("hello")
}

func TestProxy_DelaysUntilRestored(t *testing.T) {
	t.Parallel()
	p := faultproxy.Start(t, echo(t))
	c := dial(t, p)
	c.say("hello")
	c.hears("hello")
	p.Delay(silence)
	begin := time.Now()
	c.say("late")
	c.hears("late")
	if took := time.Since(begin); took < 2*silence {
		t.Errorf("both ways took %v, want at least %v", took, 2*silence)
	}
	p.Delay(time.Hour)
	c.say("held up")
	c.hearsNothing()
	p.Restore()
	c.hears("held up")
}

func TestProxy_ResetsWhenTheServerIsGone(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	p := faultproxy.Start(t, listener.Addr().String())
	conn, err := net.Dial("tcp", p.Address())
	if err != nil {
		return
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("something came from a server that is gone")
	}
}

// echo serves whatever it is told, and returns its address.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

type client struct {
	*net.TCPConn

	t     *testing.T
	lines *bufio.Reader
}

func dial(t *testing.T, p *faultproxy.Proxy) *client {
	t.Helper()
	conn, err := net.Dial("tcp", p.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{TCPConn: conn.(*net.TCPConn), t: t, lines: bufio.NewReader(conn)}
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := c.Write([]byte(line + "\n")); err != nil {
		c.t.Errorf("say %q: %v", line, err)
	}
}

func (c *client) hears(want string) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	line, err := c.lines.ReadString('\n')
	if err != nil || line != want+"\n" {
		c.t.Errorf("heard %q, %v, want %q", line, err, want)
	}
}

func (c *client) hearsNothing() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(silence))
	if line, err := c.lines.ReadString('\n'); err == nil {
		c.t.Errorf("heard %q, want nothing", line)
	}
}
