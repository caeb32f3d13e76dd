# `cmake --install`: programs, libraries, headers and the CMake package `octile`:
#   find_package(octile REQUIRED)
#   target_link_libraries(app PRIVATE octile::driver octile::program)
include(CMakePackageConfigHelpers)

set(octile_installed support isa numerics program ir passes codegen frontend reference driver platform iss device_host
                     iss_backend session)
set(octile_targets "")
foreach(part ${octile_installed})
  set(target octile_${part})
  list(APPEND octile_targets ${target})
  # Include directories of the source tree stay out of the package.
  get_target_property(dirs ${target} INTERFACE_INCLUDE_DIRECTORIES)
  set(wrapped "")
  if(NOT dirs)
    set(dirs "")  # some libraries have headers of others only
  endif()
  foreach(dir ${dirs})
    if(dir MATCHES "^\\$<INSTALL_INTERFACE")
      continue()
    elseif(dir MATCHES "^\\$<")
      list(APPEND wrapped "${dir}")
    else()
      list(APPEND wrapped "$<BUILD_INTERFACE:${dir}>")
    endif()
  endforeach()
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${wrapped}" EXPORT_NAME ${part})
  target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

install(TARGETS ${octile_targets} EXPORT octileTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
foreach(dir runtime/support runtime/numerics runtime/program runtime/reference runtime/session compiler/ir compiler/passes
            compiler/codegen compiler/frontend driver sim/platform sim/iss sim/device)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${dir}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
endforeach()
install(DIRECTORY ${OCTILE_GENERATED}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h"
        PATTERN "*.pb.h" EXCLUDE)

set(octile_package ${CMAKE_INSTALL_LIBDIR}/cmake/octile)
install(EXPORT octileTargets NAMESPACE octile:: DESTINATION ${octile_package})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/octileConfig.cmake.in ${CMAKE_BINARY_DIR}/octileConfig.cmake
                              INSTALL_DESTINATION ${octile_package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/octileConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/octileConfig.cmake ${CMAKE_BINARY_DIR}/octileConfigVersion.cmake DESTINATION ${octile_package})
