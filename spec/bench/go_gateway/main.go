// SPDX-License-Identifier: Apache-2.0

// JSON over HTTP in front of a gRPC server, as one writes it in Go: for comparison.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"

	"google.golang.org/grpc"

	pb "helloworld"
)

func main() {
	connection, err := grpc.Dial(os.Args[2], grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	backend := pb.NewHelloworldClient(connection)
	http.HandleFunc("/helloworld/call", func(w http.ResponseWriter, r *http.Request) {
		var request pb.CallRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer, err := backend.Call(r.Context(), &request)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			log.Print(err)
		}
	})
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready", listener.Addr().(*net.TCPAddr).Port)
	log.Fatal(http.Serve(listener, nil))
}
