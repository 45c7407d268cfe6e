package doctor

import _ "embed" // the script

// gemScripts are the publish scripts of the gem's versions, by which a server that has
// run one knows who has published (SHA-1 of LUA_PUBLISH, lib/message_bus/backends/redis.rb).
// Before 2.0.7 there was none.
var gemScripts = []struct{ sha1, versions string }{
	{"9e2e751b6580257f0e0a89e307105a58b7b7c2ed", "2.0.7 to 2.1"},
	{"45fe64238f6598e6c505af0aad74b4e178e891f4", "2.2 to 3.3.5"},
	{"7dff79a45b642f440ac51ae1f8773f0dea93f57a", "3.3.6 to 4.1"},
	{"2e1f737162e8c3cb1e8da24e7a4e2b3cb984c582", "4.2 to 4.5"},
}

//go:embed channels.lua
var channelsScript string
