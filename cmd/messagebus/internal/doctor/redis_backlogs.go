package doctor

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/messagebus-go/messagebus/bus/driver"
)

// judgePairs looks at each channel by itself, and tells what channels have in common
// in one finding.
func judgePairs(r *Report, f *redisFacts) {
	found := troubles{}
	found.ofGlobal(f.global)
	for _, stored := range slices.Sorted(maps.Keys(f.channels)) {
		found.ofChannel(stored, f.channels[stored])
	}
	found.tell(r)
	if len(found) == 0 && len(f.channels) > 0 {
		r.ok("messages", "The oldest and the newest message of every channel that was looked into can be read.")
	}
}

// A trouble is something that may be wrong with channels.
type trouble struct {
	severity        Severity
	topic, says, do string
}

// troubles are the names of channels by what is wrong with them.
type troubles map[trouble][]string

func (t troubles) add(severity Severity, topic, says, do, name string) {
	key := trouble{severity, topic, says, do}
	t[key] = append(t[key], name)
}

func (t troubles) tell(r *Report) {
	keys := slices.SortedFunc(maps.Keys(t), func(a, b trouble) int { return strings.Compare(a.topic+a.says, b.topic+b.says) })
	for _, key := range keys {
		names := t[key]
		slices.Sort(names)
		r.add(key.severity, key.topic, key.do, "%s: %s.", []any{key.says, named(names)})
	}
}

const deleteOrMove = "Find out who writes there; delete the key, or the bus's keys with \"messagebus reset\"."

func (t troubles) ofGlobal(p pairFacts) {
	t.kinds(globalIDKey, globalBacklogKey, p)
}

// kinds reports keys of the wrong type, and ids that are no numbers.
func (t troubles) kinds(idKey, backlogKey string, p pairFacts) (ok bool) {
	ok = true
	if p.idKind != "string" && p.idKind != "none" {
		t.add(Error, "keys", "A key of the bus is a "+p.idKind+" and should be a string, so that every publish to it fails", deleteOrMove, idKey)
		ok = false
	} else if p.idKind == "string" && !isID(p.id) {
		t.add(Error, "keys", "A key of the bus should be a number and is none, so that every publish to it fails", deleteOrMove, idKey)
		ok = false
	}
	if p.backlogKind != "zset" && p.backlogKind != "none" {
		t.add(Error, "keys", "A key of the bus is a "+p.backlogKind+" and should be a sorted set, so that every publish to it fails", deleteOrMove, backlogKey)
		ok = false
	}
	return ok
}

// isID reports whether a counter counts.
func isID(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && n >= 0
}

func (t troubles) ofChannel(stored string, p pairFacts) {
	if !t.kinds(idPrefix+stored, backlogPrefix+stored, p) {
		return
	}
	if ambiguous(stored) {
		t.add(Warning, "names", "Peers read a stored name in different ways", "Rename the channel or the site.", stored)
	}
	if p.count == 0 {
		return
	}
	newest, last := driver.ParseInt(p.newest.score), driver.ParseInt(p.id)
	switch {
	case p.idKind == "none":
		t.add(Warning, "ids", "The last id has expired and the backlog has not: the gem gives the same ids again",
			"Publish from Go there, which goes on above them, or delete the backlog.", stored)
	case last < newest:
		t.add(Warning, "ids", "The last id is lower than that of a stored message: ids are given twice",
			"Delete the backlog of the channel.", stored)
	}
	if p.lives == -1 {
		t.add(Note, "ages", "A backlog never expires, which no version of the gem leaves so (PERSIST, or a copy)", "", stored)
	}
	for _, m := range []memberFacts{p.oldest, p.newest} {
		if t.ofMember(stored, m) {
			break
		}
	}
}

// ofMember judges a stored message, and reports whether it is troubled.
func (t troubles) ofMember(stored string, m memberFacts) bool {
	message, data, ok := opened(m.sample)
	if !ok {
		t.add(Error, "messages", "A member of a backlog is no message; the gem answers 500 for the whole channel, Go passes it", "Delete it (ZREM), or the backlog.", stored)
		return true
	}
	if message.Channel != stored || decimal(message.ID) != m.score {
		t.add(Warning, "messages", "A stored message says that it is another's, or of another id", "Find out who copied keys.", stored)
		return true
	}
	return t.ofEnvelope(stored, data)
}

// ofEnvelope judges an envelope, and reports whether it is troubled.
func (t troubles) ofEnvelope(stored string, data sample) bool {
	switch why := envelopeTrouble(data); why {
	case "":
		return false
	case "not a JSON object":
		t.add(Error, "messages", "A message's envelope is not JSON; the gem answers 500 for the whole channel, Go passes it", "Find out who publishes there without the gem.", stored)
	default:
		t.add(Error, "messages", "Messages are encoded by "+why+": Go and browsers read JSON alone",
			"Use the codec MessageBus::Codec::Json (or Oj in the mode compat) in every Ruby process.", stored)
	}
	return true
}

// judgePointers compares the global backlog with what it points at, as far as it names
// channels whose newest message was seen.
func judgePointers(r *Report, f *redisFacts) {
	bad := 0
	for _, p := range f.pointers {
		id, stored, found := strings.Cut(p.text, "|")
		if !found || !isID(id) {
			bad++
			continue
		}
		pair, seen := f.channels[stored]
		if !seen || id != pair.newest.score {
			continue
		}
		if m, _, ok := opened(pair.newest.sample); ok && decimal(m.GlobalID) != p.score {
			bad++
		}
	}
	if bad > 0 {
		r.warn("ids", "Nothing, unless Ruby processes subscribe to everything from an old position: they may get a message twice or out of order. Go passes such entries.",
			"%s of the global backlog (of the newest %d) leads to another message, which is what expired ids leave behind.", counted(bad, "entry", "entries"), len(f.pointers))
	}
	if last := driver.ParseInt(f.global.id); f.global.count > 0 && last < driver.ParseInt(f.global.newest.score) {
		r.fail("ids", "Set "+globalIDKey+" to the highest score of "+globalBacklogKey+", or reset the store.",
			"The last global id is lower than one that is stored: readers take that for a reset, and lose messages.")
	}
}

// judgeSizes compares the sizes of channels that were trimmed. Under one setting all
// of them keep the same number; clear_every lets them grow in between. Where an id
// never expires, few messages may be what came after the others had expired.
func judgeSizes(r *Report, f *redisFacts) {
	const topic = "limits"
	bySize := map[int64][]string{}
	for stored, p := range f.channels {
		oldest, newest := driver.ParseInt(p.oldest.score), driver.ParseInt(p.newest.score)
		if p.count > 0 && oldest > 1 && newest-oldest+1 == p.count && p.idLives >= 0 && driver.ParseInt(p.id) == newest {
			bySize[p.count] = append(bySize[p.count], stored)
		}
	}
	sizes := slices.Sorted(maps.Keys(bySize))
	switch {
	case len(sizes) > 1:
		least, most := sizes[0], sizes[len(sizes)-1]
		slices.Sort(bySize[least])
		slices.Sort(bySize[most])
		r.warn(topic, "Compare max_backlog_size of all publishers, and max_backlog_size of single messages. clear_every of "+
			decimal(most-least+1)+" or more explains it as well.",
			"Trimmed channels keep from %d (%s) to %d messages (%s); one configuration keeps as many in all. The smallest limit of any publisher deletes for everybody.",
			least, named(bySize[least]), most, named(bySize[most]))
	case len(sizes) == 1 && sizes[0] != defaultSize:
		r.note(topic, "Channels are trimmed to %d messages; the default is %d. Give every Go process --max-backlog-size %d as well.", sizes[0], defaultSize, sizes[0])
	case len(sizes) == 1:
		r.ok(topic, "Channels are trimmed to %d messages, as by default.", sizes[0])
	}
	if f.global.count > defaultGlobal {
		r.note(topic, "The global backlog has %d entries; the default limit is %d.", f.global.count, defaultGlobal)
	}
}

// judgeAges compares lives. Every publish of the gem gives the global backlog its own
// age, so that under one setting no channel outlives it.
func judgeAges(r *Report, f *redisFacts) {
	const topic, slack = "limits", 2
	var outlive, uneven []string
	longest := int64(0)
	for stored, p := range f.channels {
		if p.count == 0 || p.lives < 0 {
			continue
		}
		longest = max(longest, p.lives)
		if f.global.lives >= 0 && p.lives > f.global.lives+slack || f.global.lives == -2 {
			outlive = append(outlive, stored)
		}
		if p.idLives >= 0 && (p.idLives-p.lives > slack || p.lives-p.idLives > slack) {
			uneven = append(uneven, stored)
		}
	}
	slices.Sort(outlive)
	slices.Sort(uneven)
	if len(outlive) > 0 {
		r.warn(topic, "Compare max_backlog_age of all publishers, and that of single messages. A Go publisher never shortens the global backlog's.",
			"%s longer than the global backlog (%s): publishers disagree on max_backlog_age, or a message had a short one of its own, which in the gem shortens it for all.",
			counted(len(outlive), "channel lives", "channels live"), named(outlive))
	}
	if len(uneven) > 0 {
		r.warn(topic, "Nothing, unless somebody sets the TTLs of these keys by hand.",
			"Last id and backlog expire at different times: %s. A publish gives both the same.", named(uneven))
	}
	if longest > defaultAge {
		r.note(topic, "Some publisher has max_backlog_age of at least %s; the default is 7 days.", days(longest))
	}
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }

// days is a number of seconds for people.
func days(seconds int64) string {
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	switch {
	case seconds >= 2*day:
		return decimal(seconds/day) + " days"
	case seconds >= 2*hour:
		return decimal(seconds/hour) + " hours"
	case seconds >= 2*minute:
		return decimal(seconds/minute) + " min"
	default:
		return decimal(seconds) + " s"
	}
}
