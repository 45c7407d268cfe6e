module github.com/messagebus-go/messagebus/bus/pgbus

go 1.26.0


replace github.com/messagebus-go/messagebus/bus => ../
