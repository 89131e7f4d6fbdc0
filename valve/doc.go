package valve
