package redisbus

import (
	"fmt"
	"strings"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// names are the keys and the pub/sub channel of one store, as the gem knows
// them (section 1 of the wire; lib/message_bus/backends/redis.rb) where there
// is no hash tag.
type names struct {
	globalID      string // string: the last global id
	globalBacklog string // sorted set: global id, `<message id>|<stored channel>`
	epoch         string // string: ours alone
	id            string // and a channel; string: the last id of the channel
	backlog       string // and a channel; sorted set: message id, encoded message
	all           string // pattern of all keys
	pubsub        string
}

func newNames(o Options) names {
	tag := ""
	if o.HashTag != "" {
		tag = "{" + o.HashTag + "}"
	}
	return names{
		globalID:      tag + "__mb_global_id_n",
		globalBacklog: tag + "__mb_global_backlog_n",
		epoch:         tag + "__mb_epoch",
		id:            tag + "__mb_backlog_id_n_",
		backlog:       tag + "__mb_backlog_n_",
		all:           tag + "__mb_*",
		pubsub:        tag + "_message_bus_" + o.PubSubDB,
	}
}

// checkHashTag refuses what would end the tag or mean something in a pattern.
func checkHashTag(tag string) error {
	allowed := func(r rune) bool {
		return r == '-' || r == '_' || r == '.' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	if strings.ContainsFunc(tag, func(r rune) bool { return !allowed(r) }) {
		return fmt.Errorf("redisbus: HashTag %q: a-z, A-Z, 0-9, and - _ . are accepted, without braces", tag)
	}
	return nil
}

// A pointer is a member of the global backlog.
type pointer struct {
	globalID, id int64
	channel      string
}

// parsePointer reads `<message id>|<stored channel>` as the gem does. What is no
// pointer leads nowhere.
func parsePointer(member string, globalID int64) pointer {
	id, channel, _ := strings.Cut(member, "|")
	return pointer{globalID: globalID, id: driver.ParseInt(id), channel: channel}
}
