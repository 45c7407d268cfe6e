module github.com/messagebus-go/messagebus/cmd/messagebus

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/go-jose/go-jose/v4 v4.1.9
	github.com/hashicorp/golang-lru/v2 v2.0.7
	github.com/messagebus-go/messagebus/bus v0.0.0
	github.com/messagebus-go/messagebus/cache v0.0.0
	github.com/messagebus-go/messagebus/httpclient v0.0.0
	github.com/messagebus-go/messagebus/jsclient v0.0.0
	github.com/messagebus-go/messagebus/transport v0.0.0
	github.com/messagebus-go/messagebus/transport/ws v0.0.0
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.10
	go.yaml.in/yaml/v3 v3.0.6
	golang.org/x/sync v0.23.0
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cpuguy83/go-md2man/v2 v2.0.6 // indirect
	github.com/jackc/puddle/v2 v2.2.3 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.3 // indirect
	github.com/prometheus/common v0.72.0 // indirect
	github.com/prometheus/procfs v0.22.0 // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/jackc/pgpassfile v1.0.0 // indirect
	github.com/jackc/pgservicefile v0.0.0-20240606120523-5a60cdf6a761 // indirect
	github.com/jackc/pgx/v5 v5.12.0
	github.com/messagebus-go/messagebus/bus/pgbus v0.0.0
	github.com/messagebus-go/messagebus/bus/redisbus v0.0.0
	github.com/messagebus-go/messagebus/observe/prometheus v0.0.0
	github.com/prometheus/client_golang v1.25.0
	github.com/redis/go-redis/v9 v9.23.0
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace (
	github.com/messagebus-go/messagebus/bus => ../../bus
	github.com/messagebus-go/messagebus/cache => ../../cache
	github.com/messagebus-go/messagebus/httpclient => ../../httpclient
	github.com/messagebus-go/messagebus/jsclient => ../../jsclient
	github.com/messagebus-go/messagebus/transport => ../../transport
)

replace github.com/messagebus-go/messagebus/bus/redisbus => ../../bus/redisbus

replace github.com/messagebus-go/messagebus/bus/pgbus => ../../bus/pgbus

replace github.com/messagebus-go/messagebus/transport/ws => ../../transport/ws

replace github.com/messagebus-go/messagebus/observe/prometheus => ../../observe/prometheus
