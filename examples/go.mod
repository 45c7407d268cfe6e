module github.com/messagebus-go/messagebus/examples

go 1.26.0

require (
	github.com/messagebus-go/messagebus/bus v0.0.0
	github.com/messagebus-go/messagebus/bus/redisbus v0.0.0
	github.com/messagebus-go/messagebus/cache v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/hashicorp/golang-lru/v2 v2.0.7 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

replace (
	github.com/messagebus-go/messagebus/bus => ../bus
	github.com/messagebus-go/messagebus/bus/redisbus => ../bus/redisbus
	github.com/messagebus-go/messagebus/cache => ../cache
)
