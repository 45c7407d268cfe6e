package httpclient_test

import (
	"compress/gzip"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/messagebus-go/messagebus/httpclient"
)

// badAnswers are what a server may send that is none, or a wrong one. After it the server
// recovers, and the messages that it could not send come once.
var badAnswers = map[string]struct {
	answer func(w http.ResponseWriter, r *http.Request)
	says   string // in the error
	opts   httpclient.Options
}{
	"HTML": {
		answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<!DOCTYPE html><title>Sign in</title>")
		},
		says: `of type "text/html": the answer is no array of messages: "<!DOCTYPE`,
	},
	"half a JSON": {
		answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "["+message(1)+`,{"global_id":`)
		},
		says: "broken off",
	},
	"no answer at all": {answer: func(_ http.ResponseWriter, r *http.Request) { hold(r) }, says: "nothing was heard for 1m30s"},
	"nothing":          {answer: func(http.ResponseWriter, *http.Request) {}, says: "ended before its first part"},
	"no JSON in a message": {
		answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `[{"data":nil}]`) },
		says:   `a message is no JSON: "{\"data\":nil}"`,
	},
	"a message without ids": {
		answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `[{"data":1,"channel":"/a"}]`) },
		says:   "lacks a global_id",
	},
	"a negative id": {
		answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "["+messageOf("/a", -1, -1)+"]")
		},
		says: "an id below 0",
	},
	"a chunk without end": {
		answer: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `[{"data":"`)
			_ = http.NewResponseController(w).Flush()
			hold(r)
		},
	},
	"a gigabyte in one message": {
		answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `[{"data":"`)
			piece := strings.Repeat("x", 1<<20)
			for range 1 << 10 { // as long as somebody reads
				if _, err := io.WriteString(w, piece); err != nil {
					return
				}
			}
		},
		says: "longer than the 4096 bytes of MaxMessageBytes",
	},
	"a bomb": {
		answer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, `[{"data":"`)
			piece := strings.Repeat("x", 1<<20)
			for range 2 {
				if _, err := io.WriteString(z, piece); err != nil {
					return
				}
			}
			_ = z.Close()
		},
		says: "longer than the 4096 bytes",
	},
	"a gap that cannot be read": {
		answer: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `[{"global_id":-1,"message_id":-1,"channel":"/__gap","data":{"/a":3}},`+message(9)+`]`)
		},
		says: "a gap cannot be read",
	},
	"an epoch without end": {
		answer: func(w http.ResponseWriter, r *http.Request) {
			vouched(w, r, strings.Repeat("e", 4000), "["+message(2)+"]")
		},
		says: `the name of an epoch is too long: "eeee`,
	},
	"an epoch without end in a gap": {
		answer: func(w http.ResponseWriter, r *http.Request) {
			gap := fmt.Sprintf(`{"/a":{"after":1,"next":3,"reason":"reset","epoch":%q}}`, strings.Repeat("e", 3000))
			vouched(w, r, "e", `[{"global_id":-1,"message_id":-1,"channel":"/__gap","data":`+gap+"},"+message(2)+"]")
		},
		says: `the name of an epoch is too long: "eeee`,
	},
	"an error": {
		answer: func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "the store is away\nand more", http.StatusInternalServerError)
		},
		says: `answered 500 Internal Server Error: "the store is away"`,
	},
	"no content": {
		answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		says:   "answered 204",
	},
	"a redirect that would lose the request": {
		answer: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		says:   "answered 302 Found",
	},
	"redirects in a circle": {
		answer: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/circle", http.StatusTemporaryRedirect)
		},
		says: "stopped after 10 redirects",
	},
}

func TestClient_RecoversFromEveryBadAnswer(t *testing.T) {
	t.Parallel()
	for name, bad := range badAnswers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			circles := 0
			bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
				switch {
				case n == 0:
					_, _ = io.WriteString(w, "["+message(1)+"]\r\n|\r\n")
				case n <= 3 || r.URL.Path == "/circle" && circles < 20:
					circles++
					bad.answer(w, r)
				default:
					parts(w, r, "["+message(1)+","+message(2)+"]", "["+message(3)+"]")
				}
			}, func(r *rig) {
				c := r.new(httpclient.Options{MaxMessageBytes: 4096})
				got := r.subscribe(c, "/a", httpclient.After(0))
				pass(10 * time.Minute)
				if got.ids() != "1 2 3" {
					r.Errorf("messages %s", got.ids())
				}
				errs := r.errors()
				for _, err := range errs {
					text := err.Error()
					if strings.Contains(text, "secret") || !strings.Contains(text, "http://bus.test/app/message-bus/") || len(text) > 400 {
						r.Errorf("the error %q has the password, lacks the address or is too long", text)
					}
				}
				if bad.says != "" && (len(errs) == 0 || !strings.Contains(errs[0].Error(), bad.says)) {
					r.Errorf("errors %v, want %q", errs, bad.says)
				}
				if d := c.Diagnostics(); !d.Connected || d.RecentFailures != 0 || bad.says != "" && d.LastError == nil {
					r.Errorf("diagnostics %+v", d)
				}
			})
		})
	}
}

func TestClient_BadEventsEndTheRequestAndOtherAnswersTheEvents(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, n int) {
		switch {
		case n == 0:
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			_, _ = io.WriteString(w, "id: 10\ndata: "+message(1)+"\n\ndata: <html>\n\n")
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, "[]")
		default:
			parts(w, r, "["+message(1)+","+message(2)+"]")
		}
	}, func(r *rig) {
		got := r.subscribe(r.new(httpclient.Options{Events: true}), "/a", httpclient.After(0))
		pass(time.Minute)
		if got.ids() != "1 2" {
			r.Errorf("messages %s", got.ids())
		}
		if errs := r.errors(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "no JSON") {
			r.Errorf("errors %v", errs)
		}
	})
}

// HTTP/2, cookies and compression are the affair of the http.Client, and nothing here is in
// their way: each message is handed over while the stream goes on.
func TestClient_HasHTTP2CookiesAndCompression(t *testing.T) {
	t.Parallel()
	heard := make(chan int64)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cookie, _ := r.Cookie("session")
		switch {
		case r.ProtoMajor != 2 || r.Header.Get("Accept-Encoding") != "gzip":
			t.Errorf("%s %v", r.Proto, r.Header)
		case cookie == nil:
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "ann"})
			_, _ = io.WriteString(w, "["+message(1)+"]")
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		for id := 2; id <= 4; id++ {
			_, _ = io.WriteString(z, "["+message(id)+"]\r\n|\r\n")
			_ = z.Flush()
			_ = http.NewResponseController(w).Flush()
			if got := <-heard; got != int64(id) {
				t.Errorf("message %d was heard, want %d", got, id)
			}
		}
		close(heard)
		hold(r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	theirs := server.Client()
	theirs.Jar, _ = cookiejar.New(nil) // never fails
	c, err := httpclient.New(server.URL, &httpclient.Options{HTTPClient: theirs})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan struct{})
	if _, err := c.Subscribe("/a", httpclient.After(0), func(m httpclient.Message) {
		if m.ID > 1 {
			heard <- m.ID
		}
		if m.ID == 4 {
			close(ended)
		}
	}); err != nil {
		t.Fatal(err)
	}
	<-ended
}

func TestClient_PassesOverWhatItDidNotAskFor(t *testing.T) {
	t.Parallel()
	bubble(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		parts(w, r, "["+messageOf("/b", 1, 5)+","+message(1)+`,{"global_id":-1,"message_id":-1,"channel":"/__news","data":{}},`+messageOf("/c", 1, 6)+"]",
			"["+`{"global_id":-1,"message_id":-1,"channel":"/__status","data":[7]},`+message(2)+"]")
	}, func(r *rig) {
		got := r.subscribe(r.new(httpclient.Options{}), "/a", httpclient.After(0))
		pass(time.Second)
		if got.ids() != "1 2" {
			r.Errorf("messages %s", got.ids())
		}
		errs := r.errors()
		if len(errs) != 1 || !strings.Contains(errs[0].Error(), `was not asked for: "/b"`) {
			r.Errorf("errors %v", errs) // once in an answer
		}
	})
}

func TestClient_CertificateThatIsWrongIsToldAndTriedAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.StartTLS()
	defer server.Close()
	told := make(chan error, 10)
	c, err := httpclient.New(server.URL, &httpclient.Options{OnError: func(err error) {
		select {
		case told <- err:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Subscribe("/a", httpclient.Latest(), func(httpclient.Message) {}); err != nil {
		t.Fatal(err)
	}
	err = <-told
	var bad *tls.CertificateVerificationError
	if !errors.As(err, &bad) || !strings.Contains(err.Error(), server.URL) {
		t.Errorf("error %v", err)
	}
	<-told // and once more
}
