package wsgateway

import "container/list"

// maxChannels is how many channels are remembered at most, wherever something is remembered by channel.
const maxChannels = 4096

// recent is a bounded map: beyond its limit the value that was set longest ago is dropped.
type recent[V any] struct {
	limit int
	slots map[string]*list.Element
	order *list.List
}

type slot[V any] struct {
	key   string
	value V
}

func newRecent[V any](limit int) *recent[V] {
	return &recent[V]{limit, map[string]*list.Element{}, list.New()}
}

func (r *recent[V]) get(key string) (value V, found bool) {
	if element, ok := r.slots[key]; ok {
		return element.Value.(slot[V]).value, true
	}
	return value, false
}

// set stores a value, and returns the one that had to go for it.
func (r *recent[V]) set(key string, value V) (dropped V, any bool) {
	if element, ok := r.slots[key]; ok {
		r.order.Remove(element)
	}
	r.slots[key] = r.order.PushBack(slot[V]{key, value})
	if r.order.Len() <= r.limit {
		return dropped, false
	}
	oldest := r.order.Remove(r.order.Front()).(slot[V])
	delete(r.slots, oldest.key)
	return oldest.value, true
}

func (r *recent[V]) clear() {
	clear(r.slots)
	r.order.Init()
}

// seen is the last offset of a channel, and up to where the gateway has reported everything missing.
type seen struct{ offset, reported int64 }

func (s seen) top() int64 { return max(s.offset, s.reported) }

// ledger knows which offsets were delivered, channel by channel, to detect duplicates and holes. What it forgets can at
// worst go unnoticed; it is never reported wrongly and never dropped.
type ledger struct {
	channels *recent[seen]
	// Channels that were forgotten may have been seen up to here.
	forgotten int64
}

func newLedger(limit int) *ledger { return &ledger{channels: newRecent[seen](limit)} }

// clear is for when offsets from before mean nothing any more.
func (l *ledger) clear() {
	l.channels.clear()
	l.forgotten = 0
}

func (l *ledger) last(channel string) int64 {
	known, _ := l.channels.get(channel)
	return known.offset
}

// record is called when a message is about to be delivered, or when everything up to reported is reported missing.
func (l *ledger) record(channel string, offset, reported int64) {
	known, _ := l.channels.get(channel)
	value := seen{max(known.offset, offset), max(known.reported, reported)}
	if dropped, any := l.channels.set(channel, value); any {
		l.forgotten = max(l.forgotten, dropped.top())
	}
}

// hole is the hole before a message, when prev shows one. Everything after promised was to be delivered.
func (l *ledger) hole(channel string, prev, promised int64) (from int64, found bool) {
	top := l.forgotten
	if known, ok := l.channels.get(channel); ok {
		top = known.top()
	}
	top = max(top, promised)
	return top + 1, prev > top
}
