module github.com/messagebus-go/messagebus/transport/ws

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/messagebus-go/messagebus/bus v0.0.0
	github.com/messagebus-go/messagebus/transport v0.0.0
)

replace (
	github.com/messagebus-go/messagebus/bus => ../../bus
	github.com/messagebus-go/messagebus/transport => ..
)
