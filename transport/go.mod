module github.com/messagebus-go/messagebus/transport

go 1.26.0

require github.com/messagebus-go/messagebus/bus v0.0.0

replace github.com/messagebus-go/messagebus/bus => ../bus
