// Package pgbus is the store of package bus on Postgres, in the layout of the
// Ruby gem message_bus: a Go and a Ruby process on one database see each
// other's messages.
//
//	pool, err := pgxpool.New(ctx, "postgres://…")
//	store, err := pgbus.New(pool, nil)
//	b, err := bus.New(store, nil)
//
// Messages are rows of the table message_bus; what is published is announced
// by NOTIFY. The table is created by the first publish or feed that misses it;
// see [Schema] for those who would rather do that themselves. Until then a
// reader finds an empty store.
//
// # What it promises
//
//   - A publish is one transaction and, on a connection that has been used for
//     one before, one round trip: the row, its announcement and the trimming
//     happen together or not at all. What may have been stored is not sent again.
//   - Publishes of one process that would wait for each other are sent together, as
//     one transaction. When the connection breaks they have an unknown outcome
//     together; when the server refuses one of them, each is sent by itself.
//   - Ids are committed in their order. A publisher takes a lock of the whole
//     table before it is given an id and keeps it until the row is committed,
//     so that nobody sees a message before one with a lower id. NOTIFY would
//     make publishers wait for each other all the same.
//   - A Stream brings all messages in that order, of every size: what is too
//     long for a notice (8000 bytes) is announced by its id, and the stream
//     reads the row.
//   - Nothing waits for a transaction that is open somewhere else.
//
// # The exception: Ruby publishers
//
// The gem takes no lock, and announces a row in a second transaction. Its
// messages may be committed and announced out of order. Where Ruby processes
// publish, package bus therefore holds a message back for Options.SettleHole
// when an id before it is missing; one that takes longer is delivered late.
// [OrderingTrigger] makes Ruby publishers commit in order too, so that what is
// read from the table has no holes that fill later. Their announcements can
// still overtake each other: leave SettleHole as it is.
//
// What the gem stores and cannot announce, a message of 8000 bytes and more,
// is seen by readers of the backlog only, as with a Ruby reader.
//
// # Where it differs from other stores
//
// Message ids are global ids: those of one channel ascend, with holes. What was
// trimmed leaves no trace of its own, so a reader who comes back is told that
// something may be lost unless the table proves the contrary: a message of its
// channel that is not newer than its position, or every id since. Publishes
// trim by age too: their own channel by their age, all channels by
// driver.Limits.MaxGlobalAge. A message that is too long for a notice is not
// trimmed by its own publish.
//
// A TRUNCATE with RESTART IDENTITY, or the table dropped and made anew, is a
// reset. So is, in the eyes of a reader, moving to another cluster by dump or
// by pg_upgrade, though the ids go on. A promoted standby is a failover.
//
// # Requirements
//
// Postgres 13 or newer. The role needs SELECT, INSERT and DELETE on
// message_bus, USAGE on message_bus_id_seq, and CREATE on the schema only where
// the table does not exist; one that only reads needs SELECT on both. The
// table is looked for along the search path.
// Sessions must have the isolation level READ COMMITTED, which is the
// default, and the same TimeZone, as ages are told by local time (the gem's
// choice). Data and channel names are text: valid UTF-8 without NUL.
//
// PgBouncer: a pool in transaction mode works. Before version 1.21, or without
// its max_prepared_statements, the pgxpool.Config needs
//
//	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
//
// A Stream cannot go through a pool in transaction mode, as LISTEN belongs to a
// session: give Options.ListenConfig a direct address.
package pgbus
