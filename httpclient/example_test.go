package httpclient_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/messagebus-go/messagebus/httpclient"
)

// newServer stands in for a message bus: it has two messages on /chat, of which the first comes
// to those who ask for all.
func newServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var backlog []string
		if strings.Contains(string(body), `"/chat":0`) {
			backlog = append(backlog, `{"global_id":7,"message_id":1,"channel":"/chat","data":"hello"}`)
		}
		if !strings.Contains(string(body), `"/chat":2`) {
			backlog = append(backlog, `{"global_id":9,"message_id":2,"channel":"/chat","data":"world"}`)
		}
		_, _ = fmt.Fprintf(w, "[%s]\r\n|\r\n", strings.Join(backlog, ","))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
}

func Example() {
	server := newServer()
	defer server.Close()

	client, err := httpclient.New(server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	done := make(chan struct{})
	_, err = client.Subscribe("/chat", httpclient.After(0), func(m httpclient.Message) {
		fmt.Println(m.ID, string(m.Data))
		if m.ID == 2 {
			close(done)
		}
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	<-done
	// Output:
	// 1 "hello"
	// 2 "world"
}

// A loop over a channel reads no faster than its body works.
func ExampleClient_Messages() {
	server := newServer()
	defer server.Close()
	client, err := httpclient.New(server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	for m, err := range client.Messages(context.Background(), "/chat", httpclient.After(0)) {
		if err != nil {
			fmt.Println(err) // a *GapError: something may be lost, and the loop goes on
			continue
		}
		var text string
		if err := m.Decode(&text); err != nil {
			fmt.Println(err)
		}
		fmt.Println(text)
		if m.ID == 2 {
			break
		}
	}
	// Output:
	// hello
	// world
}

// A service that is started again goes on where it was.
func ExampleClient_Positions() {
	server := newServer()
	defer server.Close()
	ctx := context.Background()

	first, err := httpclient.New(server.URL, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	sub, err := first.Subscribe("/chat", httpclient.After(0), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, _ := sub.Next(ctx)
	fmt.Println("before:", string(m.Data))
	positions := first.Positions() // as JSON they can be stored
	_ = first.Close()

	second, err := httpclient.New(server.URL, &httpclient.Options{Positions: positions})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer second.Close()
	sub, err = second.Subscribe("/chat", httpclient.Latest(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	m, _ = sub.Next(ctx)
	fmt.Println("after:", string(m.Data))
	// Output:
	// before: "hello"
	// after: "world"
}
