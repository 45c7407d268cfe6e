module github.com/messagebus-go/messagebus/integration

go 1.26.0

require (
	github.com/chromedp/cdproto v0.159.0
	github.com/chromedp/chromedp v0.23.0
	github.com/messagebus-go/messagebus/bus v0.0.0
	github.com/messagebus-go/messagebus/jsclient v0.0.0
	github.com/messagebus-go/messagebus/transport v0.0.0
)

require github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect

replace (
	github.com/messagebus-go/messagebus/bus => ../bus
	github.com/messagebus-go/messagebus/jsclient => ../jsclient
	github.com/messagebus-go/messagebus/transport => ../transport
)
