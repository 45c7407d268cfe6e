package guide_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/integration/command"
	"github.com/messagebus-go/messagebus/integration/document"
	"github.com/messagebus-go/messagebus/integration/port"
	"github.com/messagebus-go/messagebus/integration/stores"
)

// patience is how long anything may take; a Go program of the page has to be compiled.
const patience = 3 * time.Minute

// soon is how long commands are repeated until they print what they should.
const soon = 30 * time.Second

// A machine is an empty root for the page's files, with the application in it. The page's
// addresses are those of free ports, so that many can stand side by side.
type machine struct {
	t     *testing.T
	root  string
	redis *stores.RedisServer

	public, app, server, admin string // addresses: nginx, Puma, the Go server and its operators

	replace *strings.Replacer // of what the page says by what is true here
	env     []string
	puma    *command.Process
	boots   int // how often the application has started
	serving bool
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{
		t: t, root: t.TempDir(), redis: stores.Redis(t),
		public: port.Address(t), app: port.Address(t), server: port.Address(t), admin: port.Address(t),
	}
	m.replace = strings.NewReplacer(
		"/etc/", m.root+"/etc/", "listen 80;", "listen "+m.public+";", "127.0.0.1:6379", m.redis.Addr(),
		"127.0.0.1:3000", m.app, "127.0.0.1:7410", m.server, "127.0.0.1:7411", m.admin,
	)
	m.install()
	return m
}

// install puts into the root what there is before the page begins.
func (m *machine) install() {
	m.t.Helper()
	checkout := command.Root(m.t)
	for from, to := range map[string]string{"rubycompat/app": "app", "jsclient/dist": "app/public/client"} {
		if err := os.CopyFS(filepath.Join(m.root, to), os.DirFS(filepath.Join(checkout, from))); err != nil {
			m.t.Fatal(err)
		}
	}
	_, number, err := net.SplitHostPort(m.public)
	if err != nil {
		m.t.Fatal(err)
	}
	m.write("app/tmp/restart.txt", "")
	m.write("app/go.mod", goMod(m.t, checkout))
	m.write("app/go.sum", readFile(m.t, filepath.Join(checkout, "rubycompat/go.sum")))
	m.write("etc/nginx/nginx.conf", nginxConf(m.root))
	m.write(".curlrc", fmt.Sprintf("connect-to = \"one.example.com:80:127.0.0.1:%s\"\n", number))
	m.write("bin/nginx", "#!/bin/sh\nexec "+command.Find(m.t, "nginx")+" -e stderr -c "+m.root+"/etc/nginx/nginx.conf \"$@\"\n")
	m.write("bin/messagebus", "#!/bin/sh\nexec "+command.Binary(m.t)+" \"$@\"\n")
	for _, program := range []string{"bin/nginx", "bin/messagebus", "app/bin/rails"} {
		if err := os.Chmod(filepath.Join(m.root, program), 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
	m.env = append(os.Environ(), "PATH="+m.root+"/bin:"+os.Getenv("PATH"), "CURL_HOME="+m.root, "LANG=C.UTF-8",
		"BIND="+m.app, "GOWORK=off", "GOFLAGS=-mod=mod", "RUBYOPT=-W0")
}

// nginxConf is what Debian has, for whoever runs the tests.
func nginxConf(root string) string {
	conf := "daemon off;\nworker_processes 1;\nerror_log stderr;\npid " + root + "/nginx.pid;\nevents {}\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		conf += kind + "_temp_path " + root + "/" + kind + ";\n"
	}
	return conf + "include " + root + "/etc/nginx/conf.d/*.conf;\ninclude " + root + "/etc/nginx/sites-enabled/*.conf;\n}\n"
}

// goMod has the modules of this checkout, for the page's Go programs.
func goMod(t *testing.T, checkout string) string {
	t.Helper()
	mod := "module example.com/forum\n\ngo 1.26.0\n"
	for line := range strings.Lines(readFile(t, filepath.Join(checkout, "modules.txt"))) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[1] == "yes" {
			name := "github.com/messagebus-go/messagebus/" + fields[0]
			mod += fmt.Sprintf("\nrequire %s v0.0.0\nreplace %s => %s\n", name, name, filepath.Join(checkout, fields[0]))
		}
	}
	return mod
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// write writes a file of the root.
func (m *machine) write(name, text string) {
	m.t.Helper()
	path := filepath.Join(m.root, name)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// follow does what blocks say.
func (m *machine) follow(blocks []document.Block) {
	m.t.Helper()
	for _, b := range blocks {
		switch {
		case filepath.IsAbs(b.File):
			m.write(b.File, m.replace.Replace(b.Text))
		case b.File != "":
			m.write(filepath.Join("app", b.File), m.replace.Replace(b.Text))
		default:
			m.run(b)
		}
	}
}

// run runs commands as a reader would, who looks again where something has not happened yet.
func (m *machine) run(b document.Block) {
	m.t.Helper()
	commands, service, isService := strings.Cut(b.Text, "messagebus serve ")
	output := m.shell(commands)
	deadline := time.Now().Add(soon)
	for b.Prints != "" && !b.Fits(output) {
		if time.Now().After(deadline) {
			m.t.Fatalf("%sprints\n%s\nand not, as the page says,\n%s", b.Text, output, b.Prints)
		}
		output = m.shell(commands)
	}
	if isService && !m.serving {
		m.serving = true
		m.serve(strings.Fields(m.replace.Replace(service)))
	}
	if strings.Contains(commands, "tmp/restart.txt") {
		m.booted()
	}
}

// shell runs commands in the folder of the application.
func (m *machine) shell(commands string) string {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	var problems strings.Builder
	sh := exec.CommandContext(ctx, "sh", "-ec", m.replace.Replace(commands))
	sh.Dir, sh.Env, sh.Stderr = filepath.Join(m.root, "app"), m.env, &problems
	output, err := sh.Output()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", commands, err, problems.String())
	}
	return string(output)
}

// boot starts the application and nginx.
func (m *machine) boot() {
	m.t.Helper()
	puma := exec.Command(filepath.Join(m.root, "app/bin/rails"), "server")
	puma.Dir, puma.Env = filepath.Join(m.root, "app"), m.env
	m.puma = command.Run(m.t, puma)
	m.booted()
	nginx := exec.Command(filepath.Join(m.root, "bin/nginx"))
	nginx.Env = m.env
	command.Run(m.t, nginx)
	m.until("nginx listens", func() bool {
		conn, err := net.Dial("tcp", m.public)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// booted waits until the application has started, once more than the last time.
func (m *machine) booted() {
	m.t.Helper()
	m.boots++
	m.puma.WaitFor("that it listens", func(output string) (string, bool) {
		return "", strings.Count(output, "Use Ctrl-C to stop") >= m.boots
	})
}

// serve starts the Go server, which holds requests as long as the application does.
func (m *machine) serve(arguments []string) {
	m.t.Helper()
	arguments = append([]string{"serve", "--hold", "3s"}, arguments...)
	command.Start(m.t, arguments...).WaitFor("that it listens", func(output string) (string, bool) {
		return "", strings.Contains(output, "listening for clients") && strings.Contains(output, m.admin)
	})
}

// signIn returns the cookie of a user of the application.
func (m *machine) signIn(name string) (cookie string) {
	m.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.PostForm("http://"+m.app+"/session", url.Values{"name": {name}})
	if err != nil {
		m.t.Fatal(err)
	}
	defer answer.Body.Close()
	for _, c := range answer.Cookies() {
		return c.Name + "=" + c.Value
	}
	m.t.Fatalf("%s gets no cookie: %s", name, answer.Status)
	return ""
}

// held returns how many requests the Go server holds, if there is one.
func (m *machine) held() int {
	m.t.Helper()
	if !m.serving {
		return 0
	}
	answer, err := http.Get("http://" + m.admin + "/metrics")
	if err != nil {
		m.t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if number, found := strings.CutPrefix(lines.Text(), "messagebus_held_requests "); found {
			n, err := strconv.Atoi(number)
			if err != nil {
				m.t.Fatal(err)
			}
			return n
		}
	}
	m.t.Fatal("the Go server does not say how many requests it holds")
	return 0
}

// until tries again until done.
func (m *machine) until(what string, done func() bool) {
	m.t.Helper()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !done() {
		select {
		case <-retry.C:
		case <-deadline.C:
			m.t.Fatalf("it does not happen that %s", what)
		}
	}
}
