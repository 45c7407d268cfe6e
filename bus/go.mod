module github.com/messagebus-go/messagebus/bus

go 1.26.0
