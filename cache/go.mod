module github.com/messagebus-go/messagebus/cache

go 1.26.0

require (
	github.com/hashicorp/golang-lru/v2 v2.0.7
	github.com/messagebus-go/messagebus/bus v0.0.0
)

replace github.com/messagebus-go/messagebus/bus => ../bus
