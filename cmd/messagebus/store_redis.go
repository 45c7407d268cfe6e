package main

import (
	"context"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/messagebus-go/messagebus/bus/driver"
	"github.com/messagebus-go/messagebus/bus/redisbus"
	"github.com/messagebus-go/messagebus/cmd/messagebus/internal/doctor"
)

// How the URLs look, for people. pubsub_db is the gem's own db setting.
const (
	redisForm    = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB][?pubsub_db=N]"
	redissForm   = "rediss://[[USER]:PASSWORD@]HOST[:PORT][/DB][?pubsub_db=N]"
	unixForm     = "unix://[[USER]:PASSWORD@]/PATH/TO/SOCKET[?db=DB&pubsub_db=N]"
	sentinelForm = "redis-sentinel://[[USER]:PASSWORD@]HOST:PORT[,HOST:PORT…]/MASTER[/DB][?pubsub_db=N&sentinel_username=…&sentinel_password=…]"
)

const pubSubDB = "pubsub_db"

// A redisOpener makes a client, which connects when it is used, and reads the gem's db
// setting off a URL.
type redisOpener func(rawURL string) (client *redis.Client, db string, err error)

// onRedis is the kind of store that open reaches.
func onRedis(form string, open redisOpener) storeKind {
	return storeKind{
		form: form, shared: true,
		open: func(rawURL string) (driver.Backend, error) {
			client, db, err := open(rawURL)
			if err != nil {
				return nil, err
			}
			backend, err := redisbus.New(client, &redisbus.Options{PubSubDB: db})
			if err != nil {
				return nil, errors.Join(err, client.Close())
			}
			return owned{backend, client}, nil
		},
		inspect: func(ctx context.Context, rawURL string) (*doctor.Report, error) {
			client, db, err := open(rawURL)
			if err != nil {
				return nil, err
			}
			report, err := doctor.Redis(ctx, client, shownURL(rawURL), db)
			return report, errors.Join(err, client.Close())
		},
	}
}

// redisClient takes what go-redis has a URL for: redis:, rediss: and unix:.
func redisClient(form string) redisOpener {
	return func(rawURL string) (*redis.Client, string, error) {
		rawURL, db, err := takeParameter(rawURL, pubSubDB)
		if err != nil {
			return nil, "", badURL(form)
		}
		options, err := redis.ParseURL(rawURL)
		if err != nil {
			return nil, "", badURL(form) // the cause may hold a part of the password
		}
		return redis.NewClient(options), db, nil
	}
}

func sentinelClient(rawURL string) (*redis.Client, string, error) {
	rawURL, db, err := takeParameter(rawURL, pubSubDB)
	if err != nil {
		return nil, "", badURL(sentinelForm)
	}
	options, err := sentinelOptions(rawURL)
	if err != nil {
		return nil, "", badURL(sentinelForm)
	}
	return redis.NewFailoverClient(options), db, nil
}

var errForm = errors.New("another form")

// sentinelOptions reads a URL with several hosts, which package url does not
// take in all forms. Its errors say no more than that.
func sentinelOptions(rawURL string) (*redis.FailoverOptions, error) {
	authority, rest, found := strings.Cut(strings.TrimPrefix(rawURL, "redis-sentinel://"), "/")
	user, hosts := "", authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		user, hosts = authority[:at+1], authority[at+1:]
	}
	u, err := url.Parse("redis-sentinel://" + user + "sentinels/" + rest)
	if err != nil || !found || hosts == "" {
		return nil, errForm
	}
	master, database, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	options := &redis.FailoverOptions{MasterName: master, SentinelAddrs: strings.Split(hosts, ","), Username: u.User.Username()}
	options.Password, _ = u.User.Password()
	if database != "" {
		if options.DB, err = strconv.Atoi(database); err != nil || options.DB < 0 {
			return nil, errForm
		}
	}
	for name, values := range u.Query() {
		switch name {
		case "sentinel_username":
			options.SentinelUsername = values[0]
		case "sentinel_password":
			options.SentinelPassword = values[0]
		default:
			return nil, errForm
		}
	}
	if master == "" {
		return nil, errForm
	}
	return options, nil
}

// owned is a backend that closes the client it was made with.
type owned struct {
	driver.Backend

	client io.Closer
}

// Count implements driver.Counter, as all stores here do.
func (o owned) Count(ctx context.Context, channels []string) ([]int, error) {
	counter, counts := o.Backend.(driver.Counter)
	if !counts {
		return nil, errors.ErrUnsupported
	}
	return counter.Count(ctx, channels)
}

func (o owned) Close() error { return errors.Join(o.Backend.Close(), o.client.Close()) }
