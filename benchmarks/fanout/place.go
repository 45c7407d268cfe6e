package main

import (
	"fmt"
	"strconv"

	"github.com/messagebus-go/messagebus/integration/stores"
)

// A place is a database of the server with announcements of its own, so that what
// happens in one is not heard in the others.
type place struct {
	URL    string `json:"url"` // of the database
	Number int    `json:"number"`
}

func newPlace(server *stores.RedisServer, number int) place {
	return place{fmt.Sprintf("redis://%s/%d", server.Addr(), number), number}
}

func (p place) pubSubDB() string { return strconv.Itoa(p.Number) }

func (p place) pubSub() string { return "_message_bus_" + p.pubSubDB() }
