// SPDX-License-Identifier: Apache-2.0
// A greeting by gRPC's own C++ library (callback API): a server that Mica is measured against.
// usage: grpc_cpp_server 127.0.0.1:PORT
#include "greeting.grpc.pb.h"

#include <grpcpp/grpcpp.h>

#include <cstdio>
#include <memory>

namespace {

class Greeter final : public helloworld::Helloworld::CallbackService {
    grpc::ServerUnaryReactor *Call(grpc::CallbackServerContext *context,
                                   const helloworld::CallRequest *request,
                                   helloworld::CallResponse *response) override {
        response->set_message("Hello " + request->name());
        grpc::ServerUnaryReactor *reactor = context->DefaultReactor();
        reactor->Finish(grpc::Status::OK);
        return reactor;
    }
};

} // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: grpc_cpp_server HOST:PORT\n");
        return 2;
    }
    Greeter greeter;
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&greeter);
    std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (!server || port == 0) {
        std::fprintf(stderr, "grpc_cpp_server: cannot listen on %s\n", argv[1]);
        return 1;
    }
    std::printf("ready %d\n", port);
    std::fflush(stdout);
    server->Wait();
    return 0;
}
