module github.com/messagebus-go/messagebus/rubycompat

go 1.26.0

require (
	github.com/messagebus-go/messagebus/bus v0.0.0
	github.com/messagebus-go/messagebus/bus/pgbus v0.0.0
	github.com/messagebus-go/messagebus/bus/redisbus v0.0.0
	github.com/messagebus-go/messagebus/integration v0.0.0
	github.com/messagebus-go/messagebus/transport v0.0.0
)

replace (
	github.com/messagebus-go/messagebus/bus => ../bus
	github.com/messagebus-go/messagebus/bus/pgbus => ../bus/pgbus
	github.com/messagebus-go/messagebus/bus/redisbus => ../bus/redisbus
	github.com/messagebus-go/messagebus/integration => ../integration
	github.com/messagebus-go/messagebus/jsclient => ../jsclient
	github.com/messagebus-go/messagebus/transport => ../transport
)
