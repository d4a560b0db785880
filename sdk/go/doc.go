// Package wsgateway receives live data from a wsgateway: every message once, in order, also across reconnects.
//
// A client subscribes to channels and hands what comes to a function. When a connection ends, for whatever reason, it
// reconnects to any pod and resumes from its cursor. Messages that are no longer available are reported as a Gap, never
// skipped in silence.
package wsgateway
