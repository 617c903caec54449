// An echo with https://github.com/gorilla/websocket, with TLS if requested; `?all` broadcasts, as its example `chat` does.
package main

import (
	"log"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

const maxMessage = 2 << 20

type message struct {
	kind int
	data []byte
}

type client struct {
	connection *websocket.Conn
	send       chan message
}

var (
	upgrader           = websocket.Upgrader{}
	joins              = make(chan *client)
	leaves             = make(chan *client)
	broadcast          = make(chan message)
	messagesOfAnyClient = 256
)

func hub() {
	clients := map[*client]bool{}
	for {
		select {
		case each := <-joins:
			clients[each] = true
		case each := <-leaves:
			delete(clients, each)
			close(each.send)
		case received := <-broadcast:
			for each := range clients {
				each.send <- received
			}
		}
	}
}

func (c *client) write() {
	for each := range c.send {
		if c.connection.WriteMessage(each.kind, each.data) != nil {
			c.connection.Close()
		}
	}
}

func serve(response http.ResponseWriter, request *http.Request) {
	connection, err := upgrader.Upgrade(response, request, nil)
	if err != nil {
		log.Print(err)
		return
	}
	defer connection.Close()
	connection.SetReadLimit(maxMessage)
	if request.URL.RawQuery != "all" {
		for {
			kind, data, err := connection.ReadMessage()
			if err != nil || connection.WriteMessage(kind, data) != nil {
				return
			}
		}
	}
	member := &client{connection, make(chan message, messagesOfAnyClient)}
	joins <- member
	defer func() { leaves <- member }()
	go member.write()
	for {
		kind, data, err := connection.ReadMessage()
		if err != nil {
			return
		}
		broadcast <- message{kind, data}
	}
}

func main() {
	go hub()
	http.HandleFunc("/wss", serve)
	if len(os.Args) > 1 && os.Args[1] == "tls" {
		log.Fatal(http.ListenAndServeTLS(":9000", "/tls/server.pem", "/tls/server.key", nil))
	}
	log.Fatal(http.ListenAndServe(":9000", nil))
}
