module github.com/messagebus-go/messagebus/benchmarks

go 1.26.0


replace github.com/messagebus-go/messagebus/bus => ../bus
