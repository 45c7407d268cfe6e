module github.com/messagebus-go/messagebus/jsclient

go 1.26.0

ignore ./node_modules
