package wsgateway

import (
	"encoding/json"
	"strings"
)

// matches reports whether a channel can belong to both; either may be a pattern as NATS has them.
func matches(one, other string) bool {
	for {
		part, rest, more := strings.Cut(one, ".")
		token, others, also := strings.Cut(other, ".")
		if part == ">" || token == ">" {
			return true
		}
		if part != token && part != "*" && token != "*" {
			return false
		}
		if !more || !also {
			return more == also
		}
		one, other = rest, others
	}
}

func isPattern(channel string) bool { return strings.ContainsAny(channel, "*>") }

// first is how many channels of a list fit into room bytes as JSON; at least one, when there is one.
func first(channels []string, room int) int {
	for i, channel := range channels {
		text, _ := json.Marshal(channel) // a string always has a JSON text
		room -= len(text) + 1
		if room < 0 && i > 0 {
			return i
		}
	}
	return len(channels)
}
