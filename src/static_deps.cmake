# Which libraries go into the binary, so that an operator's node needs one file: gRPC with its 50 companions,
# protobuf-c, jansson and msgpack-c (whose soname differs between Debian 12 and 13). What a node has anyway, or
# gets security updates for, stays shared: libcurl, OpenSSL, libsystemd. Measured: handshake 16 to 10 ms, 2.3 MiB
# less resident. Targets: paddock_grpc, paddock_jansson, paddock_protobuf_c; MSGPACK_STATIC, MSGPACK_INCLUDE.
# PADDOCK_STATIC_FILES: the path of each static library in the binary.

find_library(MSGPACK_STATIC NAMES libmsgpackc.a libmsgpack-c.a REQUIRED)
find_path(MSGPACK_INCLUDE msgpack.h REQUIRED)
set(PADDOCK_STATIC_FILES ${MSGPACK_STATIC})

# ThreadSanitizer is told by library names which code it does not see into: shared ones then.
set(static_default ON)
if(NOT SANITIZER STREQUAL "none")
    set(static_default OFF)
endif()
option(STATIC_DEPS "link gRPC, protobuf-c and jansson statically" ${static_default})

foreach(dep grpc jansson protobuf_c)
    add_library(paddock_${dep} INTERFACE)
endforeach()
if(NOT STATIC_DEPS)
    target_link_libraries(paddock_grpc INTERFACE PkgConfig::GRPC)
    target_link_libraries(paddock_jansson INTERFACE PkgConfig::JANSSON)
    target_link_libraries(paddock_protobuf_c INTERFACE PkgConfig::PROTOBUF_C)
    return()
endif()

find_library(JANSSON_STATIC libjansson.a REQUIRED)
find_library(PROTOBUF_C_STATIC libprotobuf-c.a REQUIRED)
target_link_libraries(paddock_jansson INTERFACE ${JANSSON_STATIC})
target_link_libraries(paddock_protobuf_c INTERFACE ${PROTOBUF_C_STATIC})

set(grpc_static)
set(grpc_shared stdc++ m)
# grpc.pc names re2, but not what re2 needs itself (Debian 13: more of abseil).
pkg_check_modules(RE2 REQUIRED re2)
set(grpc_libraries ${GRPC_STATIC_LIBRARIES} ${RE2_STATIC_LIBRARIES})
list(REMOVE_DUPLICATES grpc_libraries)
foreach(lib ${grpc_libraries})
    if(lib MATCHES "^(grpc|gpr|address_sorting|re2|upb|cares|absl_.*)$")
        find_library(static_${lib} lib${lib}.a REQUIRED)
        list(APPEND grpc_static ${static_${lib}})
    else()
        list(APPEND grpc_shared ${lib})
    endif()
endforeach()
target_include_directories(paddock_grpc SYSTEM INTERFACE ${GRPC_INCLUDE_DIRS})
target_link_libraries(paddock_grpc INTERFACE -Wl,--start-group ${grpc_static} -Wl,--end-group ${grpc_shared})
target_link_options(paddock_grpc INTERFACE -Wl,--gc-sections)
list(APPEND PADDOCK_STATIC_FILES ${JANSSON_STATIC} ${PROTOBUF_C_STATIC} ${grpc_static})
