module github.com/messagebus-go/messagebus/rubycompat

go 1.26.0


replace github.com/messagebus-go/messagebus/bus => ../bus
