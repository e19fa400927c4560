# What `paddock version --verbose` prints, as build/generated/build_info.h. The version itself is that of project().
#
# The commit is looked up at each build, because a build folder outlives many commits. A tree without git (a
# distribution's) names it with -DCOMMIT=.
# The libraries are looked up when cmake configures: the names and versions of the Debian packages, or pkg-config's
# where dpkg does not know the files.
set(COMMIT "" CACHE STRING "the commit that `paddock version --verbose` prints (default: git's)")
set(info_dir ${CMAKE_BINARY_DIR}/generated)

set(static_rows "")
execute_process(
    COMMAND ${CMAKE_SOURCE_DIR}/packaging/static-packages ${PADDOCK_STATIC_FILES}
    OUTPUT_VARIABLE packages RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
if(failed)
    set(packages "")
    set(static_rows "    {\"msgpack-c\", \"\"},\n")
    if(STATIC_DEPS)
        foreach(dep GRPC RE2 JANSSON PROTOBUF_C)
            string(APPEND static_rows "    {\"${${dep}_MODULE_NAME}\", \"${${dep}_VERSION}\"},\n")
        endforeach()
    endif()
endif()
# packaging/release reads it.
file(WRITE ${info_dir}/static_packages.tsv "${packages}\n")
string(REPLACE "\n" ";" packages "${packages}")
foreach(package ${packages})
    string(REGEX MATCH "^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)" package "${package}")
    string(APPEND static_rows "    {\"${CMAKE_MATCH_1}\", \"${CMAKE_MATCH_4} (${CMAKE_MATCH_3})\"},\n")
endforeach()
set(shared_rows "")
foreach(dep GRPC JANSSON PROTOBUF_C)
    if(NOT STATIC_DEPS)
        string(APPEND shared_rows "    {\"${${dep}_MODULE_NAME}\", \"${${dep}_VERSION}\"},\n")
    endif()
endforeach()
configure_file(${CMAKE_CURRENT_LIST_DIR}/build_info.h.in ${info_dir}/build_info.h @ONLY)

add_custom_target(paddock_commit
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DCOMMIT=${COMMIT} -DOUT=${info_dir}/commit.h
            -P ${CMAKE_CURRENT_LIST_DIR}/commit.cmake
    BYPRODUCTS ${info_dir}/commit.h
    VERBATIM)
