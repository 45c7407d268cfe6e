package httpclient_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/messagebus-go/messagebus/httpclient"
)

// BenchmarkClient_ReadsMessages reads small messages from a server on this machine: half of
// them as a backlog in one part, half of them live, each in a part of its own.
func BenchmarkClient_ReadsMessages(b *testing.B) {
	var answer bytes.Buffer
	answer.WriteByte('[')
	for id := 1; id <= b.N; id++ {
		fmt.Fprintf(&answer, `{"global_id":%d,"message_id":%d,"channel":"/chat","data":{"user":"ann","text":"hello %d"}}`, 10*id, id, id)
		switch {
		case id < b.N/2:
			answer.WriteByte(',')
		case id < b.N:
			answer.WriteString("]\r\n|\r\n[")
		}
	}
	answer.WriteString("]\r\n|\r\n")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Length", strconv.Itoa(answer.Len()))
		_, _ = w.Write(answer.Bytes())
	}))
	defer server.Close()
	client, err := httpclient.New(server.URL, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	done := make(chan struct{})
	b.SetBytes(int64(answer.Len() / b.N))
	b.ReportAllocs()
	b.ResetTimer()
	if _, err := client.Subscribe("/chat", httpclient.After(0), func(m httpclient.Message) {
		if m.ID == int64(b.N) {
			close(done)
		}
	}); err != nil {
		b.Fatal(err)
	}
	<-done
}
