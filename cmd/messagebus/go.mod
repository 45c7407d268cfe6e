module github.com/messagebus-go/messagebus/cmd/messagebus

go 1.26.0

require (
	github.com/messagebus-go/messagebus/bus v0.0.0
	github.com/messagebus-go/messagebus/jsclient v0.0.0
	github.com/messagebus-go/messagebus/transport v0.0.0
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.10
)

require github.com/inconshreveable/mousetrap v1.1.0 // indirect

replace (
	github.com/messagebus-go/messagebus/bus => ../../bus
	github.com/messagebus-go/messagebus/jsclient => ../../jsclient
	github.com/messagebus-go/messagebus/transport => ../../transport
)
