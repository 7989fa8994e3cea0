// SPDX-License-Identifier: Apache-2.0

// The greeting as a server of grpc-go, for comparison.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"

	pb "helloworld"
)

type server struct{}

func (server) Call(_ context.Context, request *pb.CallRequest) (*pb.CallResponse, error) {
	return &pb.CallResponse{Message: "Hello " + request.Name}, nil
}

func main() {
	listener, err := net.Listen("tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("ready", listener.Addr().(*net.TCPAddr).Port)
	s := grpc.NewServer()
	pb.RegisterHelloworldServer(s, server{})
	log.Fatal(s.Serve(listener))
}
